# Flags that every target of ours gets, as the interface library warpkem_settings. Nothing global: a project that adds this
# one as a subdirectory keeps its own flags.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
  set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
endif()

add_library(warpkem_settings INTERFACE)
target_compile_features(warpkem_settings INTERFACE cxx_std_20 c_std_99)
target_include_directories(warpkem_settings INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include")
target_compile_options(warpkem_settings INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion;$<$<BOOL:${WARPKEM_WERROR}>:-Werror>>)
target_compile_definitions(warpkem_settings INTERFACE $<$<BOOL:${WARPKEM_CT_CHECK}>:WARPKEM_CT_CHECK>)
if(WARPKEM_SANITIZE)
  target_compile_options(warpkem_settings INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${WARPKEM_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>)
  target_link_options(warpkem_settings INTERFACE -fsanitize=${WARPKEM_SANITIZE})
endif()

# An object library of ours: position-independent, everything hidden unless marked.
function(warpkem_object_library name)
  add_library(${name} OBJECT ${ARGN})
  target_link_libraries(${name} PRIVATE warpkem_settings)
  set_target_properties(${name} PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    CXX_EXTENSIONS OFF C_EXTENSIONS OFF)
endfunction()
