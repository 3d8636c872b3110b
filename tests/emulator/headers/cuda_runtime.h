// All that kernels need of it is included before their first line.
#pragma once
