/* The version, in one place: CMake reads it from here. */
#ifndef WARPKEM_VERSION_H
#define WARPKEM_VERSION_H

#define WARPKEM_VERSION_MAJOR 0
#define WARPKEM_VERSION_MINOR 1
#define WARPKEM_VERSION_PATCH 0
#define WARPKEM_VERSION_STRING "0.1.0"

#endif
