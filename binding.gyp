# The same addon as CMakeLists.txt builds, for those who build with node-gyp. Sources come from the same manifest.
{
  'variables': {
    'manifest': 'node -p "const m = require(\'./native/sources.json\');',
    'kernels': ['<!@(<(manifest) m.kernels.concat(m.byteKernels).join(\' \')")'],
    'amx_kernels': ['<!@(<(manifest) m.amxKernels.join(\' \')")'],
    'byte_kernels': ['<!@(<(manifest) m.byteKernels.join(\' \')")'],
    'plain': ['-std=c++20', '-ffp-contract=off', '-fno-exceptions', '-fno-rtti', '-O3'],
  },
  'target_defaults': {
    'include_dirs': ['native'],
    'cflags': ['-fPIC', '-fvisibility=hidden', '-pthread', '-Wno-unused-parameter'],
    'cflags_cc': ['-std=c++20'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fno-exceptions', '-fno-rtti'],
  },
  'targets': [
    {'target_name': 'kernels_portable', 'type': 'static_library', 'sources': ['<@(kernels)'], 'cflags_cc': ['<@(plain)'],
     'defines': ['FILIGREE_ISA=portable', 'FILIGREE_ISA_portable=1']},
    {'target_name': 'filigree',
     'sources': ['<!@(<(manifest) m.base.concat(m.addon).join(\' \')")'],
     'dependencies': ['kernels_portable', '<!(node -p "require(\'node-addon-api\').targets"):node_addon_api_except'],
     'defines': ['NAPI_VERSION=8', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
     'conditions': [
       ['OS=="linux"', {'ldflags': ['-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-Wl,-z,nodelete']}],
       ['target_arch=="x64"', {'dependencies': ['kernels_avx2', 'kernels_avx512', 'kernels_avx512vnni', 'kernels_amx']}]]},
  ],
  'conditions': [['target_arch=="x64"', {'targets': [
    {'target_name': 'kernels_avx2', 'type': 'static_library', 'sources': ['<@(kernels)'],
     'cflags_cc': ['<@(plain)', '<!@(<(manifest) m.isas.avx2.join(\' \')")'],
     'defines': ['FILIGREE_ISA=avx2', 'FILIGREE_ISA_avx2=1']},
    {'target_name': 'kernels_avx512', 'type': 'static_library', 'sources': ['<@(kernels)'],
     'cflags_cc': ['<@(plain)', '<!@(<(manifest) m.isas.avx512.join(\' \')")'],
     'defines': ['FILIGREE_ISA=avx512', 'FILIGREE_ISA_avx512=1']},
    {'target_name': 'kernels_avx512vnni', 'type': 'static_library', 'sources': ['<@(byte_kernels)'],
     'cflags_cc': ['<@(plain)', '<!@(<(manifest) m.isas.avx512vnni.join(\' \')")'],
     'defines': ['FILIGREE_ISA=avx512vnni', 'FILIGREE_ISA_avx512vnni=1']},
    {'target_name': 'kernels_amx', 'type': 'static_library', 'sources': ['<@(amx_kernels)'],
     'cflags_cc': ['<@(plain)', '<!@(<(manifest) m.isas.amx.join(\' \')")'],
     'defines': ['FILIGREE_ISA=amx', 'FILIGREE_ISA_amx=1']},
  ]}]],
}
