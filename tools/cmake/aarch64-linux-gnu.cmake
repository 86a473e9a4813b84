# Cross-building for Arm by Debian's compiler (g++-aarch64-linux-gnu). Libraries for Arm are found in CMAKE_SYSROOT if that is
# given, else where `dpkg --add-architecture arm64` and `apt-get install libssl-dev:arm64` leave them. Where there is
# qemu-user, programs for Arm run: tests, and the tool as it writes its manual pages.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# FindOpenSSL asks pkg-config, which would answer with this machine's libraries.
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(emulated_root /usr/aarch64-linux-gnu)
if(CMAKE_SYSROOT)
  set(emulated_root "${CMAKE_SYSROOT}")
  set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
  foreach(kind IN ITEMS LIBRARY INCLUDE PACKAGE)
    set(CMAKE_FIND_ROOT_PATH_MODE_${kind} ONLY)
  endforeach()
endif()
find_program(WARPKEM_QEMU_AARCH64 NAMES qemu-aarch64 qemu-aarch64-static)
mark_as_advanced(WARPKEM_QEMU_AARCH64)
if(WARPKEM_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${WARPKEM_QEMU_AARCH64};-L;${emulated_root}")
endif()
