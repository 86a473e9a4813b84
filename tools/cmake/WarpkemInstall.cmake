# Install rules: library, headers, CMake package, pkg-config file.

include(CMakePackageConfigHelpers)
install(TARGETS warpkem EXPORT warpkem-targets FILE_SET HEADERS
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/warpkem")
install(EXPORT warpkem-targets NAMESPACE warpkem:: DESTINATION "${package_dir}")

set(WARPKEM_NEEDS_OPENSSL 0)
set(private_requires)
if(OpenSSL_FOUND)
  set(WARPKEM_NEEDS_OPENSSL 1)
  set(private_requires "libcrypto >= 3.0")
endif()
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/tools/cmake/warpkem-config.cmake.in" "${PROJECT_BINARY_DIR}/warpkem-config.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/warpkem-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/warpkem-config.cmake" "${PROJECT_BINARY_DIR}/warpkem-config-version.cmake"
  DESTINATION "${package_dir}")

# What a consumer of the static library must link besides it, and define.
set(pc_cflags)
set(pc_requires)
set(pc_libs)
if(NOT BUILD_SHARED_LIBS)
  set(pc_cflags "-DWARPKEM_STATIC")
  set(pc_requires "${private_requires}")
  set(pc_libs "-pthread -ldl -lstdc++ -lm")
endif()
configure_file("${PROJECT_SOURCE_DIR}/tools/cmake/warpkem.pc.in" "${PROJECT_BINARY_DIR}/warpkem.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/warpkem.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
