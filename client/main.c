/* The `annal` tool. */
#include "client/tool.h"

int main(int argc, char **argv)
{
	return tool_main(argc, argv);
}
