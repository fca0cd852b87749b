internal import EdgePair
internal import Testing
