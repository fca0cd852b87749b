/* SwiftPM wants one translation unit in a C target. CEdge carries declarations only. */
#include "cedge.h"
