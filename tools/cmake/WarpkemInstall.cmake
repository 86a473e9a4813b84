# Install rules: library, headers, CMake package, pkg-config file. Components: warpkem_runtime (the shared library) and
# warpkem_development (all else); others are installed where they are built, as warpkem_cuda, warpkem_provider, warpkem_tool.
#
# The shared and the static library can be installed into one prefix, in any order: what both bring is the same, and what
# differs has a name of its own.

include(CMakePackageConfigHelpers)
set(kind static)
if(BUILD_SHARED_LIBS)
  set(kind shared)
endif()

install(TARGETS warpkem EXPORT warpkem-targets
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT warpkem_runtime
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT warpkem_runtime NAMELINK_COMPONENT warpkem_development
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT warpkem_development
  FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT warpkem_development)

# warpkem-config.cmake chooses between warpkem-shared.cmake and warpkem-static.cmake.
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/warpkem")
install(EXPORT warpkem-targets FILE "warpkem-${kind}-targets.cmake" NAMESPACE warpkem:: DESTINATION "${package_dir}"
  COMPONENT warpkem_development)
set(WARPKEM_NEEDS_OPENSSL 0)
if(OpenSSL_FOUND)
  set(WARPKEM_NEEDS_OPENSSL 1)
endif()
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/tools/cmake/warpkem-config.cmake.in" "${PROJECT_BINARY_DIR}/warpkem-config.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
configure_file(
  "${PROJECT_SOURCE_DIR}/tools/cmake/warpkem-${kind}.cmake.in" "${PROJECT_BINARY_DIR}/warpkem-${kind}.cmake" @ONLY)
# As the SONAME has it: within a major version the C ABI only grows.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/warpkem-config-version.cmake" COMPATIBILITY SameMajorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/warpkem-config.cmake" "${PROJECT_BINARY_DIR}/warpkem-config-version.cmake"
  "${PROJECT_BINARY_DIR}/warpkem-${kind}.cmake"
  DESTINATION "${package_dir}" COMPONENT warpkem_development)

# warpkem.pc is the shared library's, and has in its private lines what pkg-config --static adds. The static library has
# warpkem-static.pc, with nothing private, and is what warpkem.pc means where there is no shared one.
set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
foreach(folder IN ITEMS pc_libdir pc_includedir)
  if(NOT IS_ABSOLUTE "${${folder}}")
    set(${folder} "\${prefix}/${${folder}}")
  endif()
endforeach()
set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
set(installed_libdir "${CMAKE_INSTALL_LIBDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")  # then the prefix is found from where the file lies
  string(REGEX REPLACE "[^/]+" ".." pc_up "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix "\${pcfiledir}/${pc_up}/..")
  set(installed_libdir "\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}")
endif()
set(pc_requires)
if(OpenSSL_FOUND)
  set(pc_requires "libcrypto >= 3.0")
endif()
set(pc_runtime ${warpkem_cxx_runtime})
list(TRANSFORM pc_runtime PREPEND "-l")
list(JOIN pc_runtime " " pc_runtime)
set(pc_libs "-pthread -ldl ${pc_runtime}")

# Writes NAME.pc of a library; what links besides it is private if `private` says so.
function(warpkem_pc name library cflags private)
  set(requires "${pc_requires}")
  set(libs "${pc_libs}")
  set(private_requires)
  set(private_libs)
  if(private)
    set(private_requires "${pc_requires}")
    set(private_libs "${pc_libs}")
    set(requires)
    set(libs)
  endif()
  configure_file("${PROJECT_SOURCE_DIR}/tools/cmake/warpkem.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
endfunction()
if(BUILD_SHARED_LIBS)
  warpkem_pc(warpkem "-lwarpkem" "" TRUE)
  install(FILES "${PROJECT_BINARY_DIR}/warpkem.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT warpkem_development)
else()
  warpkem_pc(warpkem "-lwarpkem" "-DWARPKEM_STATIC" FALSE)
  warpkem_pc(warpkem-static "-l:libwarpkem.a" "-DWARPKEM_STATIC" FALSE)
  install(FILES "${PROJECT_BINARY_DIR}/warpkem-static.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT warpkem_development)
  install(CODE "
    if(NOT EXISTS \"\$ENV{DESTDIR}${installed_libdir}/libwarpkem.so\")
      file(INSTALL \"${PROJECT_BINARY_DIR}/warpkem.pc\" DESTINATION \"${installed_libdir}/pkgconfig\")
    endif()" COMPONENT warpkem_development)
endif()
