/* The version, in one place: CMake reads it from here. */
#ifndef WARPKEM_VERSION_H
#define WARPKEM_VERSION_H

#define WARPKEM_VERSION_MAJOR 1
#define WARPKEM_VERSION_MINOR 0
#define WARPKEM_VERSION_PATCH 0
#define WARPKEM_VERSION_STRING "1.0.0"

#endif
