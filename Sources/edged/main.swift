import EdgeDaemon
import Glibc

exit(EdgedCommand.run(CommandLine.arguments))
