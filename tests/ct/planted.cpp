#include "tests/ct/planted.hpp"

#include <cstring>
#include <iterator>

// rdi: 64 secret bytes. rsi: 4096 public bytes. A label is where the fault must be reported. Written in assembly, so
// that no compiler makes a fault harmless or a twin faulty.
#define PLANTED(name, body)                                                                                     \
  extern "C" void planted_##name(const std::uint8_t*, std::uint8_t*);                                           \
  extern "C" const char planted_##name##_place;                                                                 \
  asm(".text\n.globl planted_" #name "\n.hidden planted_" #name "\n.type planted_" #name                        \
      ", @function\n.hidden planted_" #name "_place\n.globl planted_" #name "_place\nplanted_" #name ":\n" body \
      "\nret\n.size planted_" #name ", .-planted_" #name "\n")
#define HERE(name) "planted_" #name "_place: "
#define CLEAN(name, body) PLANTED(name, "planted_" #name "_place: " body)

// ---- branches

PLANTED(branch, "testb $1, (%rdi)\n" HERE(branch) "jz 2f\nnop\n2:");
PLANTED(branch_on_carry, "movzbl (%rdi), %eax\nadd $200, %al\n" HERE(branch_on_carry) "jc 2f\nnop\n2:");
PLANTED(loop_bound, "movzbl (%rdi), %eax\nand $7, %eax\n2: dec %eax\n" HERE(loop_bound) "jns 2b");
PLANTED(loop_instruction, "movzbl (%rdi), %ecx\ninc %ecx\n2: nop\n" HERE(loop_instruction) "loop 2b");
PLANTED(branch_on_rcx, "movzbl (%rdi), %ecx\n" HERE(branch_on_rcx) "jrcxz 2f\nnop\n2:");
PLANTED(branch_after_stack, "push (%rdi)\npop %rax\ntest %eax, %eax\n" HERE(branch_after_stack) "js 2f\nnop\n2:");
PLANTED(branch_after_select, "xor %eax, %eax\nmov $1, %edx\ncmpb $5, (%rdi)\ncmovb %edx, %eax\ncmp $1, %eax\n" HERE(
                                 branch_after_select) "je 2f\nnop\n2:");
PLANTED(branch_after_setcc,
        "xor %eax, %eax\ncmpb $5, (%rdi)\nsetb %al\ntest %al, %al\n" HERE(branch_after_setcc) "je 2f\nnop\n2:");
PLANTED(branch_after_vectors,
        "movdqu (%rdi), %xmm0\npunpcklbw %xmm0, %xmm1\npshufd $0x4e, %xmm1, %xmm2\npxor %xmm3, %xmm3\npcmpeqb %xmm3, "
        "%xmm2\n"
        "pmovmskb %xmm2, %eax\ntest %eax, %eax\n" HERE(branch_after_vectors) "jz 2f\nnop\n2:");
PLANTED(
    branch_after_memory,
    "mov (%rdi), %rax\nmov %rax, 100(%rsi)\nmovdqu 96(%rsi), %xmm0\nmovdqu %xmm0, 203(%rsi)\nmovzbl 207(%rsi), %edx\n"
    "cmp $9, %edx\n" HERE(branch_after_memory) "ja 2f\nnop\n2:");
PLANTED(branch_on_vptest,
        "vmovdqu (%rdi), %ymm0\nvptest %ymm0, %ymm0\n" HERE(branch_on_vptest) "jz 2f\nnop\n2: vzeroupper");
PLANTED(branch_on_mask,
        "vmovdqu64 (%rdi), %zmm0\nvpxor %xmm1, %xmm1, %xmm1\nvpcmpeqw %zmm1, %zmm0, %k1\nkortestd %k1, %k1\n" HERE(
            branch_on_mask) "jz 2f\nnop\n2: vzeroupper");
PLANTED(early_exit, "mov $64, %ecx\nxchg %rsi, %rdi\n" HERE(early_exit) "repe cmpsb");
PLANTED(scan, "mov $64, %ecx\nmov $7, %al\n" HERE(scan) "repne scasb");

// ---- jumps

PLANTED(jump_target, "movzbl (%rdi), %eax\nand $1, %eax\nlea 2f(%rip), %rdx\nadd %rax, %rdx\n" HERE(
                         jump_target) "jmp *%rdx\n2: nop\nnop");
PLANTED(call_target, "movzbl (%rdi), %eax\nand $1, %eax\nlea 2f(%rip), %rdx\nadd %rax, %rdx\n" HERE(
                         call_target) "call *%rdx\nret\n2: nop\nnop");
PLANTED(return_target, "movzbl (%rdi), %eax\nand $1, %eax\nlea 2f(%rip), %rdx\nadd %rax, %rdx\npush %rdx\n" HERE(
                           return_target) "ret\n2: nop\nnop");

// ---- addresses

PLANTED(load, "movzbl (%rdi), %eax\n" HERE(load) "mov (%rsi,%rax), %al");
PLANTED(load_base, "movzbl (%rdi), %eax\nadd %rsi, %rax\n" HERE(load_base) "mov 1(%rax), %al");
PLANTED(load_table, "movzbl (%rdi), %eax\npush %rbx\nmov %rsi, %rbx\n" HERE(load_table) "xlat\npop %rbx");
PLANTED(load_by_vector,
        "movdqu (%rdi), %xmm0\nmovd %xmm0, %eax\nand $0xff, %eax\n" HERE(load_by_vector) "movdqu (%rsi,%rax), %xmm1");
PLANTED(operand_address, "movzbl (%rdi), %eax\n" HERE(operand_address) "addl $3, (%rsi,%rax,4)");
PLANTED(store, "movzbl (%rdi), %eax\n" HERE(store) "movb $1, (%rsi,%rax)");
PLANTED(store_word, "movzbl 63(%rdi), %eax\nshl $3, %eax\n" HERE(store_word) "mov %rsi, (%rsi,%rax)");
PLANTED(store_vector, "movzbl (%rdi), %eax\n" HERE(store_vector) "movups %xmm0, (%rsi,%rax)");
PLANTED(store_string, "movzbl (%rdi), %eax\nlea (%rsi,%rax), %rdi\nxor %eax, %eax\n" HERE(store_string) "stosb");
PLANTED(cache_line, "movzbl (%rdi), %eax\n" HERE(cache_line) "prefetcht0 (%rsi,%rax)");
PLANTED(gather, "vpmovzxbd (%rdi), %ymm1\nvpcmpeqd %ymm2, %ymm2, %ymm2\nvpxor %xmm0, %xmm0, %xmm0\n" HERE(
                    gather) "vpgatherdd %ymm2, (%rsi,%ymm1,4), %ymm0\nvzeroupper");
PLANTED(gather_512, "vpmovzxbd (%rdi), %zmm1\nkxnorw %k0, %k0, %k1\n" HERE(
                        gather_512) "vpgatherdd (%rsi,%zmm1,4), %zmm0{%k1}\nvzeroupper");
PLANTED(scatter, "vpmovzxbd (%rdi), %zmm1\nkxnorw %k0, %k0, %k1\n" HERE(
                     scatter) "vpscatterdd %zmm0, (%rsi,%zmm1,4){%k1}\nvzeroupper");
PLANTED(mask_of_store, "kmovq (%rdi), %k1\n" HERE(mask_of_store) "vmovdqu8 %zmm0, (%rsi){%k1}\nvzeroupper");
PLANTED(mask_of_blend, "kmovq (%rdi), %k1\n" HERE(mask_of_blend) "vpblendmb (%rsi), %zmm2, %zmm3{%k1}\nvzeroupper");
PLANTED(repeat_count, "movzbl (%rdi), %ecx\nmov %rsi, %rdi\nxor %eax, %eax\n" HERE(repeat_count) "rep stosb");

// ---- time

PLANTED(division, "movzbl (%rdi), %eax\nxor %edx, %edx\nmov $3329, %ecx\n" HERE(division) "div %ecx");
PLANTED(divisor, "movzbl (%rdi), %ecx\ninc %ecx\nmov $3329, %eax\nxor %edx, %edx\n" HERE(divisor) "div %ecx");
PLANTED(signed_division, "movsbl (%rdi), %eax\ncltd\nmov $17, %ecx\n" HERE(signed_division) "idiv %ecx");
PLANTED(division_64, "mov (%rdi), %rax\nxor %edx, %edx\nmov $3329, %ecx\n" HERE(division_64) "div %rcx");
PLANTED(float_division, "movss (%rdi), %xmm0\nmovaps %xmm0, %xmm1\n" HERE(float_division) "divss %xmm1, %xmm0");
PLANTED(float_root, "movsd (%rdi), %xmm0\n" HERE(float_root) "sqrtsd %xmm0, %xmm0");

// A secret byte at place 3 of a vector otherwise public comes to place 4 by a rotation of 8 bits in 64.
#define ROTATED(place, shuffle)                                                                            \
  "pxor %xmm0, %xmm0\nmovdqu %xmm0, (%rsi)\nmovb (%rdi), %al\nmov %al, 3(%rsi)\nmovdqu (%rsi), %xmm0\n"    \
  "mov $0x0605040302010007, %rax\nmov %rax, 16(%rsi)\nmov $0x0e0d0c0b0a09080f, %rax\nmov %rax, 24(%rsi)\n" \
  "movdqu 16(%rsi), %xmm1\n" shuffle "\nmovdqu %xmm0, 32(%rsi)\ncmpb $1, 32+" place "(%rsi)\n"

PLANTED(rotated_to, ROTATED("4", "pshufb %xmm1, %xmm0") HERE(rotated_to) "ja 2f\nnop\n2:");
CLEAN(rotated_from, ROTATED("3", "pshufb %xmm1, %xmm0") "ja 2f\nnop\n2:");
CLEAN(rotated_beside, ROTATED("12", "vpshufb %xmm1, %xmm0, %xmm0") "ja 2f\nnop\n2:");

// What no rule covers must never pass.
PLANTED(unknown_instruction, HERE(unknown_instruction) "fld1\nfstp %st(0)");

// ---- the harmless twins

CLEAN(select, "xor %eax, %eax\nmov $1, %edx\ncmpb $5, (%rdi)\ncmovb %edx, %eax\nmov %eax, (%rsi)");
CLEAN(setcc, "cmpb $5, (%rdi)\nsetb (%rsi)");
CLEAN(masked_select,
      "movzbl (%rdi), %eax\nneg %eax\nsbb %edx, %edx\nmov $6, %ecx\nand %edx, %ecx\nnot %edx\nand $9, %edx\nor "
      "%edx, %ecx\nmov %ecx, (%rsi)");
CLEAN(address_arithmetic, "mov (%rdi), %rax\nlea 7(%rsi,%rax,8), %rdx\nlea (%rdx,%rax), %eax\nmov %rdx, (%rsi)");
CLEAN(nop_operand, "movzbl (%rdi), %eax\nnopw (%rsi,%rax)\nnopl 8(%rax)");
CLEAN(zeroed, "mov (%rdi), %rax\nxor %eax, %eax\ntest %rax, %rax\njz 2f\nnop\n2: mov (%rsi,%rax), %al");
CLEAN(subtracted, "mov (%rdi), %rax\nsub %rax, %rax\njz 2f\nnop\n2: mov (%rsi,%rax), %al");
CLEAN(zeroed_vector, "movdqu (%rdi), %xmm0\npxor %xmm0, %xmm0\nmovd %xmm0, %eax\nmov (%rsi,%rax), %al");
CLEAN(all_ones, "movdqu (%rdi), %xmm0\npcmpeqd %xmm0, %xmm0\npmovmskb %xmm0, %eax\ncmp $0xffff, %eax\nje 2f\nnop\n2:");
CLEAN(hidden_by_and, "movzwl (%rdi), %eax\nand $0, %al\nmov $0, %ah\ntest %eax, %eax\njz 2f\nnop\n2:");
CLEAN(shifted_out, "movzbl (%rdi), %eax\nshr $8, %eax\ntest %eax, %eax\njz 2f\nnop\n2: mov (%rsi,%rax), %al");
CLEAN(overwritten, "mov (%rdi), %rax\nmov $5, %eax\ncmp $5, %rax\nje 2f\nnop\n2: mov (%rsi,%rax), %al");
CLEAN(upper_cleared, "mov (%rdi), %rax\nmov %eax, %eax\nshr $32, %rax\nmov (%rsi,%rax), %al");
CLEAN(
    overwritten_memory,
    "mov (%rdi), %rax\nmov %rax, (%rsi)\nmov %rsi, %rdi\nmov $8, %ecx\nxor %eax, %eax\nrep stosb\ncmpb $0, 3(%rsi)\nje "
    "2f\nnop\n2:");
CLEAN(shift_by_secret, "movzbl (%rdi), %ecx\nmov $1, %eax\nshl %cl, %eax\nror %cl, %rax\nmov %rax, (%rsi)");
CLEAN(product, "mov (%rdi), %rax\nmov 8(%rdi), %rdx\nmul %rdx\nimul $3329, %rdx, %rdx\nmov %rdx, (%rsi)");
CLEAN(full_compare,
      "movdqu (%rdi), %xmm0\nmovdqu (%rsi), %xmm1\npcmpeqb %xmm1, %xmm0\npmovmskb %xmm0, %eax\nsub $0xffff, %eax\nsbb "
      "%eax, "
      "%eax\nmov %eax, (%rsi)");
CLEAN(shuffle_by_secret,
      "vmovdqu (%rdi), %ymm0\nvmovdqu (%rsi), %ymm1\nvpshufb %ymm0, %ymm1, %ymm2\nvpermd %ymm1, %ymm0, "
      "%ymm3\nvmovdqu %ymm2, (%rsi)\nvzeroupper");
CLEAN(blend_by_secret,
      "vmovdqu (%rdi), %ymm0\nvpblendvb %ymm0, %ymm1, %ymm2, %ymm3\nvmovdqu %ymm3, (%rsi)\nvzeroupper");
CLEAN(blend_by_secret_mask,
      "kmovq (%rdi), %k1\nvpblendmb %zmm1, %zmm2, %zmm3{%k1}\nvmovdqu64 %zmm3, (%rsi)\nvzeroupper");
CLEAN(logic_of_three,
      "vmovdqu64 (%rdi), %zmm0\nvpternlogq $0xff, %zmm0, %zmm0, %zmm0\nvpmovb2m %zmm0, %k1\nkortestq %k1, "
      "%k1\njc 2f\nnop\n2: vzeroupper");
CLEAN(public_index,
      "mov (%rdi), %rax\nmov %rax, 8(%rsi)\nmovzbl (%rsi), %edx\nmov (%rsi,%rdx), %al\ncmpb $3, 16(%rsi)\nja "
      "2f\nnop\n2:");
CLEAN(public_division,
      "mov (%rdi), %r8\nmov $3329, %eax\nxor %edx, %edx\nmov $17, %ecx\ndiv %ecx\nmov (%rsi,%rdx), %al");
CLEAN(public_gather,
      "vmovdqu (%rdi), %ymm0\nvmovdqu %ymm0, 64(%rsi)\nvpxor %xmm1, %xmm1, %xmm1\nvpcmpeqd %ymm2, %ymm2, "
      "%ymm2\nvpgatherdd %ymm2, 64(%rsi,%ymm1,4), %ymm3\nvmovdqu %ymm3, 96(%rsi)\nvzeroupper");

namespace planted {

namespace {

// Compiled ones: what a library call or an ordinary loop makes of a secret.
volatile int sink;
void compares(const std::uint8_t* secret, std::uint8_t* table) { sink = std::memcmp(secret, table, 48); }
void searches(const std::uint8_t* secret, std::uint8_t*) { sink = std::memchr(secret, 1, 64) != nullptr; }
void measures(const std::uint8_t* secret, std::uint8_t*) {
  sink = static_cast<int>(std::strlen(reinterpret_cast<const char*>(secret)));
}
void copies(const std::uint8_t* secret, std::uint8_t* table) { std::memcpy(table, secret, 61); }
void fills(const std::uint8_t* secret, std::uint8_t* table) { std::memset(table, secret[1], 100); }

}  // namespace

#define LEAK(name, needs, what) \
  { #name, planted_##name, needs, what, &planted_##name##_place }
#define NO_LEAK(name, needs) \
  { #name, planted_##name, needs, "", &planted_##name##_place }

const Case cases[] = {
    LEAK(branch, "", "branch"),
    LEAK(branch_on_carry, "", "branch"),
    LEAK(loop_bound, "", "branch"),
    LEAK(loop_instruction, "", "branch"),
    LEAK(branch_on_rcx, "", "branch"),
    LEAK(branch_after_stack, "", "branch"),
    LEAK(branch_after_select, "", "branch"),
    LEAK(branch_after_setcc, "", "branch"),
    LEAK(branch_after_vectors, "", "branch"),
    LEAK(branch_after_memory, "", "branch"),
    LEAK(branch_on_vptest, "avx2", "branch"),
    LEAK(branch_on_mask, "avx512", "branch"),
    LEAK(early_exit, "", "early exit"),
    LEAK(scan, "", "early exit"),
    LEAK(jump_target, "", "jump target"),
    LEAK(call_target, "", "jump target"),
    LEAK(return_target, "", "jump target"),
    LEAK(load, "", "address"),
    LEAK(load_base, "", "address"),
    LEAK(load_table, "", "address"),
    LEAK(load_by_vector, "", "address"),
    LEAK(operand_address, "", "address"),
    LEAK(store, "", "address"),
    LEAK(store_word, "", "address"),
    LEAK(store_vector, "", "address"),
    LEAK(store_string, "", "address"),
    LEAK(cache_line, "", "address"),
    LEAK(gather, "avx2", "address"),
    LEAK(gather_512, "avx512", "address"),
    LEAK(scatter, "avx512", "address"),
    LEAK(mask_of_store, "avx512", "mask of an access"),
    LEAK(mask_of_blend, "avx512", "mask of an access"),
    LEAK(repeat_count, "", "repeat count"),
    LEAK(division, "", "variable time"),
    LEAK(divisor, "", "variable time"),
    LEAK(signed_division, "", "variable time"),
    LEAK(division_64, "", "variable time"),
    LEAK(float_division, "", "variable time"),
    LEAK(float_root, "", "variable time"),
    LEAK(rotated_to, "", "branch"),
    LEAK(unknown_instruction, "", "no rule"),
    {"library_compare", compares, "", "branch", nullptr},
    {"library_search", searches, "", "branch", nullptr},
    {"library_length", measures, "", "branch", nullptr},
    NO_LEAK(rotated_from, ""),
    NO_LEAK(rotated_beside, "avx2"),
    NO_LEAK(select, ""),
    NO_LEAK(setcc, ""),
    NO_LEAK(masked_select, ""),
    NO_LEAK(address_arithmetic, ""),
    NO_LEAK(nop_operand, ""),
    NO_LEAK(zeroed, ""),
    NO_LEAK(subtracted, ""),
    NO_LEAK(zeroed_vector, ""),
    NO_LEAK(all_ones, ""),
    NO_LEAK(hidden_by_and, ""),
    NO_LEAK(shifted_out, ""),
    NO_LEAK(overwritten, ""),
    NO_LEAK(upper_cleared, ""),
    NO_LEAK(overwritten_memory, ""),
    NO_LEAK(shift_by_secret, ""),
    NO_LEAK(product, ""),
    NO_LEAK(full_compare, ""),
    NO_LEAK(shuffle_by_secret, "avx2"),
    NO_LEAK(blend_by_secret, "avx2"),
    NO_LEAK(blend_by_secret_mask, "avx512"),
    NO_LEAK(logic_of_three, "avx512"),
    NO_LEAK(public_index, ""),
    NO_LEAK(public_division, ""),
    NO_LEAK(public_gather, "avx2"),
    {"library_copy", copies, "", "", nullptr},
    {"library_fill", fills, "", "", nullptr},
};
const int num_cases = static_cast<int>(std::size(cases));

bool can_run(const Case& one) noexcept {
  __builtin_cpu_init();
  if (std::strcmp(one.needs, "avx2") == 0) return __builtin_cpu_supports("avx2") != 0;
  if (std::strcmp(one.needs, "avx512") == 0) {
    return __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0;
  }
  return true;
}

}  // namespace planted
