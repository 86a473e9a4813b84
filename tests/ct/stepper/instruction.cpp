#include "tests/ct/stepper/instruction.hpp"

#include <Zydis/Zydis.h>
#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <new>
#include <string_view>

namespace stepper {

namespace {

// Which operand says where the others go. Operands are counted as Intel writes them, without immediate ones.
enum class Control : u8 { none, first, second, last };

struct Entry {
  Rule rule;
  u8 size;
  Control control;
  const char* names;  // without the v of VEX and EVEX where both exist
};

// Everything that is known. `size` of a `move` is what a secret control reaches.
constexpr Entry mnemonic_table[] = {
    {Rule::move, 8, Control::none,
     "mov movzx movsx movsxd movbe bswap xchg cbw cwde cdqe cwd cdq cqo "
     "cmovb cmovbe cmovl cmovle cmovnb cmovnbe cmovnl cmovnle cmovno cmovnp cmovns cmovnz cmovo cmovp cmovs cmovz "
     "kmovb kmovw kmovd kmovq kunpckbw kunpckwd kunpckdq "
     "kshiftlb kshiftlw kshiftld kshiftlq kshiftrb kshiftrw kshiftrd kshiftrq"},
    {Rule::move, 64, Control::none,
     "movd movq movdqa movdqu movaps movups movapd movupd movss movlps movhps movlpd movhpd movhlps movlhps lddqu "
     "movntdq movntdqa movnti movntps movntpd movdqa32 movdqa64 movdqu8 movdqu16 movdqu32 movdqu64 movddup movshdup "
     "movsldup broadcastss broadcastsd broadcastf128 broadcasti128 broadcastf32x2 broadcastf32x4 broadcastf32x8 "
     "broadcastf64x2 broadcastf64x4 broadcasti32x2 broadcasti32x4 broadcasti32x8 broadcasti64x2 broadcasti64x4 "
     "pbroadcastb pbroadcastw pbroadcastd pbroadcastq pbroadcastmb2q pbroadcastmw2d "
     "insertf128 inserti128 insertf32x4 insertf32x8 insertf64x2 insertf64x4 inserti32x4 inserti32x8 inserti64x2 "
     "inserti64x4 extractf128 extracti128 extractf32x4 extractf32x8 extractf64x2 extractf64x4 extracti32x4 "
     "extracti32x8 extracti64x2 extracti64x4 pinsrb pinsrw pinsrd pinsrq pextrb pextrw pextrd pextrq insertps "
     "extractps pmovmskb movmskps movmskpd pmovm2b pmovm2w pmovm2d pmovm2q pmovb2m pmovw2m pmovd2m pmovq2m "
     "pmovzxbw pmovzxbd pmovzxbq pmovzxwd pmovzxwq pmovzxdq pmovsxbw pmovsxbd pmovsxbq pmovsxwd pmovsxwq pmovsxdq "
     "pmovwb pmovdb pmovdw pmovqb pmovqw pmovqd pshufd pshufhw pshuflw shufps shufpd punpcklbw punpckhbw punpcklwd "
     "punpckhwd punpckldq punpckhdq punpcklqdq punpckhqdq unpcklps unpckhps unpcklpd unpckhpd palignr alignd alignq "
     "perm2f128 perm2i128 shuff32x4 shuff64x2 shufi32x4 shufi64x2 pblendw pblendd blendps blendpd pslldq psrldq "
     "pblendmb pblendmw pblendmd pblendmq blendmps blendmpd prold prolq prord prorq pshldw pshldd pshldq pshrdw "
     "pshrdd pshrdq"},
    {Rule::move, 64, Control::none, "pexpandb pexpandw pexpandd pexpandq pcompressb pcompressw pcompressd pcompressq"},
    {Rule::move, 8, Control::last, "shl shr sar rol ror shld shrd shlx shrx sarx rorx"},
    {Rule::move, 16, Control::last, "pshufb permilps permilpd"},
    {Rule::move, 64, Control::last, "psllw pslld psllq psrlw psrld psrlq psraw psrad psraq"},
    {Rule::move, 2, Control::last, "psllvw psrlvw psravw"},
    {Rule::move, 4, Control::last, "psllvd psrlvd psravd prolvd prorvd"},
    {Rule::move, 8, Control::last, "psllvq psrlvq psravq prolvq prorvq"},
    {Rule::move, 1, Control::last, "pblendvb"},
    {Rule::move, 4, Control::last, "blendvps"},
    {Rule::move, 8, Control::last, "blendvpd"},
    {Rule::move, 4, Control::second, "pmaskmovd maskmovps"},
    {Rule::move, 8, Control::second, "pmaskmovq maskmovpd"},
    {Rule::move, 64, Control::second,
     "permb permw permd permq permps permpd permt2b permt2w permt2d permt2q permt2ps permt2pd"},
    {Rule::move, 8, Control::second, "pmultishiftqb"},
    {Rule::move, 64, Control::first, "permi2b permi2w permi2d permi2q permi2ps permi2pd"},

    {Rule::bit_and, 1, Control::none, "and test pand pandd pandq andps andpd"},
    {Rule::bit_or, 1, Control::none, "or por pord porq orps orpd"},
    {Rule::bit_andn, 1, Control::none, "andn pandn pandnd pandnq andnps andnpd"},
    {Rule::bit_xor, 1, Control::none, "xor not pxor pxord pxorq xorps xorpd"},
    {Rule::ternary, 1, Control::none, "pternlogd pternlogq"},

    {Rule::elements, 1, Control::none,
     "paddb psubb paddsb paddusb psubsb psubusb pavgb pminub pminsb pmaxub pmaxsb pabsb psignb popcntb gf2p8mulb"},
    {Rule::elements, 2, Control::none,
     "paddw psubw paddsw paddusw psubsw psubusw pavgw pminuw pminsw pmaxuw pmaxsw pabsw psignw popcntw pmullw pmulhw "
     "pmulhuw pmulhrsw pmaddubsw pshldvw pshrdvw"},
    {Rule::elements, 4, Control::none,
     "paddd psubd pminud pminsd pmaxud pmaxsd pabsd psignd popcntd pmulld pmaddwd plzcntd pdpbusd pdpbusds pdpwssd "
     "pdpwssds pshldvd pshrdvd"},
    {Rule::elements, 8, Control::none,
     "paddq psubq pminuq pminsq pmaxuq pmaxsq pabsq popcntq pmullq pmuludq pmuldq plzcntq psadbw pmadd52luq "
     "pmadd52huq gf2p8affineqb gf2p8affineinvqb pshldvq pshrdvq"},
    // The curve's doubles are integers: none is a denormal, an infinity or a NaN, so these take the same time for all.
    // What divides, rounds or converts stays below, among what may not.
    {Rule::elements, 8, Control::none,
     "addpd subpd fmadd132pd fmadd213pd fmadd231pd fmsub132pd fmsub213pd fmsub231pd fnmadd132pd fnmadd213pd "
     "fnmadd231pd fnmsub132pd fnmsub213pd fnmsub231pd"},
    {Rule::elements, 16, Control::none,
     "phaddw phaddd phaddsw phsubw phsubd phsubsw mpsadbw dbpsadbw phminposuw pclmulqdq aesenc aesenclast aesdec "
     "aesdeclast aesimc aeskeygenassist sha1rnds4 sha1nexte sha1msg1 sha1msg2 sha256rnds2 sha256msg1 sha256msg2"},
    {Rule::pack, 2, Control::none, "packsswb packuswb"},
    {Rule::pack, 4, Control::none, "packssdw packusdw"},
    {Rule::compare, 1, Control::none, "pcmpeqb pcmpgtb pcmpb pcmpub ptestmb ptestnmb"},
    {Rule::compare, 2, Control::none, "pcmpeqw pcmpgtw pcmpw pcmpuw ptestmw ptestnmw"},
    {Rule::compare, 4, Control::none, "pcmpeqd pcmpgtd pcmpd pcmpud ptestmd ptestnmd"},
    {Rule::compare, 8, Control::none, "pcmpeqq pcmpgtq pcmpq pcmpuq ptestmq ptestnmq"},
    {Rule::upward, 8, Control::none, "add sub adc sbb inc dec neg cmp lea imul adcx adox"},
    {Rule::all, 8, Control::none,
     "mul mulx cmpxchg xadd cmpxchg8b cmpxchg16b bsf bsr tzcnt lzcnt popcnt bextr blsi blsr blsmsk bzhi bt bts btr btc "
     "rcl rcr lahf sahf clc stc cmc cld std crc32 "
     "setb setbe setl setle setnb setnbe setnl setnle setno setnp setns setnz seto setp sets setz "
     "ptest testps testpd kortestb kortestw kortestd kortestq ktestb ktestw ktestd ktestq kaddb kaddw kaddd kaddq "
     "pmovswb pmovsdb pmovsdw pmovsqb pmovsqw pmovsqd pmovuswb pmovusdb pmovusdw pmovusqb pmovusqw pmovusqd "
     "pconflictd pconflictq"},
    {Rule::mask_bits, 1, Control::none,
     "kandb kandw kandd kandq kandnb kandnw kandnd kandnq korb korw kord korq kxorb kxorw kxord kxorq kxnorb kxnorw "
     "kxnord kxnorq knotb knotw knotd knotq"},
    {Rule::zero_vectors, 1, Control::none, "zeroall"},
    {Rule::zero_upper, 1, Control::none, "zeroupper"},
    {Rule::nothing, 1, Control::none, "nop endbr64 pause lfence mfence sfence serialize"},
    {Rule::touch, 1, Control::none,
     "ldmxcsr stmxcsr prefetch prefetchw prefetcht0 prefetcht1 prefetcht2 prefetchnta clflush clflushopt clwb "
     "cldemote"},
    {Rule::variable, 1, Control::none,
     "div idiv pdep pext divps divpd divss divsd sqrtps sqrtpd sqrtss sqrtsd rcpps rcpss rsqrtps rsqrtss addps "
     "addss addsd subps subss subsd mulps mulpd mulss mulsd minps minpd minss minsd maxps maxpd maxss maxsd "
     "cmpps cmppd cmpss cmpsd ucomiss ucomisd comiss comisd roundps roundpd roundss roundsd haddps haddpd hsubps "
     "hsubpd addsubps addsubpd dpps dppd cvtsi2ss cvtsi2sd cvttss2si cvttsd2si cvtss2si cvtsd2si cvtss2sd cvtsd2ss "
     "cvtdq2ps cvtdq2pd cvtps2dq cvtpd2dq cvttps2dq cvttpd2dq cvtps2pd cvtpd2ps cvtusi2ss cvtusi2sd cvttss2usi "
     "cvttsd2usi cvtudq2ps cvtudq2pd cvtqq2pd cvtuqq2pd cvttpd2qq cvttpd2uqq fmadd132sd fmadd213sd fmadd231sd "
     "fmadd132ss fmadd213ss fmadd231ss fmadd132ps fmadd213ps fmadd231ps "
     "rndscaleps rndscalepd rndscaless rndscalesd pcmpistri pcmpistrm pcmpestri pcmpestrm"},
    {Rule::system, 1, Control::none, "cpuid xgetbv rdtsc rdtscp rdpid rdrand rdseed xtest rdfsbase"},
    {Rule::gather, 1, Control::none,
     "pgatherdd pgatherdq pgatherqd pgatherqq gatherdps gatherdpd gatherqps gatherqpd pscatterdd pscatterdq "
     "pscatterqd pscatterqq scatterdps scatterdpd scatterqps scatterqpd"},
    {Rule::push, 1, Control::none, "push"},
    {Rule::pop, 1, Control::none, "pop"},
    {Rule::leave, 1, Control::none, "leave"},
    {Rule::call, 1, Control::none, "call"},
    {Rule::ret, 1, Control::none, "ret"},
    {Rule::jump, 1, Control::none, "jmp"},
    {Rule::jump_if, 1, Control::none, "jb jbe jl jle jnb jnbe jnl jnle jno jnp jns jnz jo jp js jz"},
    {Rule::jump_if_rcx, 1, Control::none, "jrcxz jecxz"},
    {Rule::loop, 1, Control::none, "loop loope loopne"},
    {Rule::move_string, 1, Control::none, "movsb movsw movsd movsq"},
    {Rule::store_string, 1, Control::none, "stosb stosw stosd stosq"},
    {Rule::load_string, 1, Control::none, "lodsb lodsw lodsd lodsq"},
    {Rule::compare_string, 1, Control::none, "cmpsb cmpsw cmpsd cmpsq scasb scasw scasd scasq"},
    {Rule::system_call, 1, Control::none, "syscall"},
    // A table in memory, at rbx + al. The address holds al, so that a secret one is found like any other.
    {Rule::all, 1, Control::none, "xlat"},
};

bool is_string(Rule rule) {
  return rule == Rule::move_string || rule == Rule::store_string || rule == Rule::load_string ||
         rule == Rule::compare_string;
}

bool lists(std::string_view names, std::string_view name) {
  for (std::size_t at = names.find(name); at != names.npos; at = names.find(name, at + 1)) {
    const bool begins = at == 0 || names[at - 1] == ' ';
    const std::size_t end = at + name.size();
    if (begins && (end == names.size() || names[end] == ' ')) return true;
  }
  return false;
}

// Two names mean a string operation or one on a vector: movsd and cmpsd.
const Entry* find(std::string_view name, bool vex, bool string) {
  for (const bool strip : {false, true}) {
    if (strip && (!vex || name.empty() || name[0] != 'v')) break;
    const std::string_view bare = strip ? name.substr(1) : name;
    for (const Entry& entry : mnemonic_table) {
      if (is_string(entry.rule) == string && lists(entry.names, bare)) return &entry;
    }
  }
  if (!string && (name == "movsd" || name == "vmovsd")) return find("movss", false, false);
  return nullptr;
}

// General registers by Zydis' numbering of their class.
bool general(ZydisRegister reg, Operand& out) {
  const int id = ZydisRegisterGetId(reg);
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR64:
      out.bytes = 8;
      break;
    case ZYDIS_REGCLASS_GPR32:
      out.bytes = 4;
      break;
    case ZYDIS_REGCLASS_GPR16:
      out.bytes = 2;
      break;
    case ZYDIS_REGCLASS_GPR8:
      out.bytes = 1;
      if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
        out.number = static_cast<u8>(reg - ZYDIS_REGISTER_AH);
        out.first_byte = 1;
      } else if (reg <= ZYDIS_REGISTER_BL) {
        out.number = static_cast<u8>(reg - ZYDIS_REGISTER_AL);
      } else {
        out.number = static_cast<u8>(reg - ZYDIS_REGISTER_SPL + 4);
      }
      return true;
    default:
      return false;
  }
  out.number = static_cast<u8>(id);
  return true;
}

int address_register(ZydisRegister reg) {
  Operand operand;
  return general(reg, operand) ? operand.number : -1;
}

enum class Taken : u8 { yes, skipped, unknown };

Taken take_operand(const ZydisDecodedInstruction& raw, const ZydisDecodedOperand& operand, Operand& out) {
  out.reads = (operand.actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_CONDWRITE)) != 0;
  out.writes = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  out.bytes = operand.size / 8u;
  out.element = static_cast<u8>(operand.element_size >= 8 ? operand.element_size / 8 : 1);
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return Taken::skipped;
    case ZYDIS_OPERAND_TYPE_REGISTER:
      switch (ZydisRegisterGetClass(operand.reg.value)) {
        case ZYDIS_REGCLASS_GPR8:
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64:
          out.kind = Kind::general;
          general(operand.reg.value, out);
          return Taken::yes;
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM:
        case ZYDIS_REGCLASS_ZMM:
          out.kind = Kind::vector;
          out.number = static_cast<u8>(ZydisRegisterGetId(operand.reg.value));
          return Taken::yes;
        case ZYDIS_REGCLASS_MASK:
          out.kind = Kind::mask;
          out.number = static_cast<u8>(ZydisRegisterGetId(operand.reg.value));
          out.bytes = 8;
          // The write mask has its own field.
          return operand.encoding == ZYDIS_OPERAND_ENCODING_MASK ? Taken::skipped : Taken::yes;
        case ZYDIS_REGCLASS_FLAGS:
        case ZYDIS_REGCLASS_IP:
          return Taken::skipped;
        default:
          return operand.reg.value == ZYDIS_REGISTER_MXCSR ? Taken::skipped : Taken::unknown;
      }
    case ZYDIS_OPERAND_TYPE_MEMORY: {
      const auto& mem = operand.mem;
      out.kind = Kind::memory;
      out.access = mem.type == ZYDIS_MEMOP_TYPE_MEM || mem.type == ZYDIS_MEMOP_TYPE_VSIB;
      out.vector_index = mem.type == ZYDIS_MEMOP_TYPE_VSIB;
      out.relative = mem.base == ZYDIS_REGISTER_RIP;
      out.base = address_register(mem.base);
      out.index = out.vector_index ? ZydisRegisterGetId(mem.index) : address_register(mem.index);
      out.byte_index = ZydisRegisterGetClass(mem.index) == ZYDIS_REGCLASS_GPR8;
      out.scale = mem.scale == 0 ? u8{1} : mem.scale;
      out.displacement = mem.disp.value;
      out.thread_local_ = mem.segment == ZYDIS_REGISTER_FS;
      if (mem.segment == ZYDIS_REGISTER_GS || mem.type == ZYDIS_MEMOP_TYPE_MIB) return Taken::unknown;
      if (raw.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID && !raw.avx.broadcast.is_static) {
        out.broadcast = true;
        out.bytes = out.element;
      }
      return Taken::yes;
    }
    default:
      return Taken::unknown;
  }
}

// The conditions of Zydis' operands that the rules need, and idioms whose result does not depend on their input.
void find_idioms(Instruction& out, std::string_view name, const ZydisDecodedInstruction& raw,
                 const ZydisDecodedOperand* operands) {
  if (out.vex && !name.empty() && name[0] == 'v') name.remove_prefix(1);
  int sources = 0;
  const ZydisDecodedOperand* first = nullptr;
  bool same = true;
  for (int i = 0; i < raw.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE || operand.encoding == ZYDIS_OPERAND_ENCODING_MASK) continue;
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) == 0) continue;
    ++sources;
    if (first == nullptr) first = &operand;
    same = same && operand.type == ZYDIS_OPERAND_TYPE_REGISTER && first->type == operand.type &&
           first->reg.value == operand.reg.value;
  }
  same = same && sources == 2;
  out.carry_only = same && name == "sbb";
  out.same_source =
      same && out.mask == 0 &&
      lists(
          "xor sub cmp pxor pxord pxorq xorps xorpd psubb psubw psubd psubq pcmpeqb pcmpeqw pcmpeqd pcmpeqq pcmpgtb "
          "pcmpgtw pcmpgtd pcmpgtq pandn pandnd pandnq kxorb kxorw kxord kxorq kxnorb kxnorw kxnord kxnorq",
          name);
}

}  // namespace

bool decode(const u8* bytes, std::size_t length, u64 pc, Instruction& out) noexcept {
  static ZydisDecoder decoder;
  static const bool ready = ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
  ZydisDecodedInstruction raw;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ready || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, length, &raw, operands))) return false;

  out = Instruction{};
  out.pc = pc;
  out.mnemonic = ZydisMnemonicGetString(raw.mnemonic);
  out.length = raw.length;
  out.vex = raw.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX || raw.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
  const bool string = raw.meta.category == ZYDIS_CATEGORY_STRINGOP;
  const Entry* entry = find(out.mnemonic, out.vex, string);
  if (entry == nullptr) return true;  // Rule::unknown
  out.rule = entry->rule;
  out.size = entry->size;
  out.condition = raw.opcode & 15;
  out.vector_bytes = raw.avx.vector_length / 8u;
  out.address_32 = raw.address_width == 32;
  out.repeat = (raw.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  if (raw.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && raw.avx.mask.mode != ZYDIS_MASK_MODE_DISABLED &&
      raw.avx.mask.mode != ZYDIS_MASK_MODE_INVALID) {
    out.mask = ZydisRegisterGetId(raw.avx.mask.reg);
    out.merging = out.mask > 0 && raw.avx.mask.mode == ZYDIS_MASK_MODE_MERGING;
  }

  if (raw.cpu_flags != nullptr) {
    constexpr u32 arithmetic =
        ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF | ZYDIS_CPUFLAG_ZF | ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF;
    const ZydisAccessedFlags& flags = *raw.cpu_flags;
    out.flags_read = flags.tested & arithmetic;
    out.flags_written = (flags.modified | flags.undefined) & arithmetic;
    out.flags_cleared = (flags.set_0 | flags.set_1) & arithmetic & ~out.flags_written;
  }

  if (out.rule == Rule::system_call) return true;  // its operands are those of the convention
  int visible = 0;
  for (int i = 0; i < raw.operand_count; ++i) {
    Operand operand;
    if (operands[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && i < raw.operand_count_visible) {
      out.has_immediate = true;
      out.immediate = operands[i].imm.value.u;
    }
    const Taken taken = take_operand(raw, operands[i], operand);
    if (taken == Taken::skipped) continue;
    if (taken == Taken::unknown && out.rule == Rule::system && operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
      continue;
    const bool fits = operand.bytes <= 64 || out.rule == Rule::nothing || out.rule == Rule::touch;
    if (taken == Taken::unknown || out.operands == most_operands || !fits) {
      out.rule = Rule::unknown;
      return true;
    }
    if (out.operands == 0 && out.merging && operand.writes) {
      operand.merged = (operands[i].actions & ZYDIS_OPERAND_ACTION_READ) == 0 || out.rule != Rule::ternary;
      operand.reads = true;
    }
    if (i < raw.operand_count_visible) ++visible;
    if (operand.kind == Kind::memory && lists("xlat", out.mnemonic)) {  // [rbx + al], of which Zydis names rbx
      operand.index = reg_rax;
      operand.byte_index = true;
    }
    out.operand[out.operands++] = operand;
  }
  const int control = entry->control == Control::first                          ? 0
                      : entry->control == Control::second && !out.has_immediate ? 1
                      : entry->control == Control::last && !out.has_immediate   ? visible - 1
                                                                                : -1;
  if (control >= 0 && control < out.operands) out.operand[control].control = true;
  const bool rotates_carry = lists("rcl rcr", out.mnemonic) && !out.has_immediate;
  out.count_in_cl =
      rotates_carry || (entry->control == Control::last && entry->size == 8 && control > 0 && out.flags_written != 0);
  find_idioms(out, out.mnemonic, raw, operands);
  if (raw.raw.imm[0].is_relative) out.target = pc + raw.length + raw.raw.imm[0].value.u;
  out.indirect = (out.rule == Rule::jump || out.rule == Rule::call) && !raw.raw.imm[0].is_relative;
  out.general_only = out.rule != Rule::zero_vectors && out.rule != Rule::zero_upper && out.mask == 0;
  for (int i = 0; i < out.operands; ++i) {
    const Operand& operand = out.operand[i];
    if (operand.kind == Kind::vector || operand.kind == Kind::mask || operand.vector_index) out.general_only = false;
  }
  // A bit string in memory reaches beyond its operand; rare enough to be refused.
  if (std::string_view("bt bts btr btc").find(out.mnemonic) != std::string_view::npos && !out.has_immediate &&
      out.operand[0].kind == Kind::memory) {
    out.rule = Rule::unknown;
  }
  return true;
}

namespace {

// Executable memory within reach of relative addresses; the first page holds data.
struct Arena {
  u8* begin;
  std::size_t used;
};
constexpr std::size_t arena_bytes = std::size_t{16} << 20;
Arena arenas[16];
int num_arenas = 0;

bool near(u64 a, u64 b) { return (a > b ? a - b : b - a) < (u64{1} << 30); }

Arena& arena_near(u64 pc) {
  for (int i = 0; i < num_arenas; ++i) {
    Arena& arena = arenas[i];
    if (near(reinterpret_cast<u64>(arena.begin), pc) && arena.used + 128 <= arena_bytes) return arena;
  }
  if (num_arenas == static_cast<int>(std::size(arenas))) give_up("too many places of code", pc);
  for (u64 distance = u64{64} << 20; distance < (u64{900} << 20); distance += u64{16} << 20) {
    for (const bool below : {true, false}) {
      const u64 hint = (below ? pc - distance : pc + distance) & ~u64{0xfff};
      void* p = mmap(reinterpret_cast<void*>(hint), arena_bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
      if (p == MAP_FAILED) continue;
      if (!near(reinterpret_cast<u64>(p), pc)) {
        munmap(p, arena_bytes);
        continue;
      }
      arenas[num_arenas] = {static_cast<u8*>(p), 4096};
      return arenas[num_arenas++];
    }
  }
  give_up("no memory for code", pc);
}

const void* emit(Arena& arena, const u8* bytes, std::size_t length) {
  u8* stub = arena.begin + arena.used;
  std::memcpy(stub, bytes, length);
  u8* jump = stub + length;
  const u8 jump_indirect[6] = {0xff, 0x25, 0, 0, 0, 0};
  const void* back = stub_return();
  std::memcpy(jump, jump_indirect, 6);
  std::memcpy(jump + 6, &back, 8);
  arena.used += (length + 14 + 15) & ~std::size_t{15};
  return stub;
}

void make_stubs(Instruction& instruction) {
  ZydisDecoder decoder;
  ZydisDecodedInstruction raw;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  u8 bytes[16] = {};
  std::memcpy(bytes, reinterpret_cast<const u8*>(instruction.pc), instruction.length);
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes, instruction.length, &raw))) return;
  Arena& arena = arena_near(instruction.pc);
  const bool memory = (raw.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 && raw.raw.modrm.mod != 3;
  const std::size_t tail = raw.raw.modrm.offset + std::size_t{1} + (raw.raw.sib.offset != 0 ? 1 : 0) +
                           static_cast<std::size_t>(raw.raw.disp.size / 8);

  const bool relative = memory && raw.raw.modrm.mod == 0 && raw.raw.modrm.rm == 5;
  if (relative) {
    const u64 target = instruction.pc + instruction.length + static_cast<u64>(raw.raw.disp.value);
    const std::int64_t moved =
        static_cast<std::int64_t>(target - (reinterpret_cast<u64>(arena.begin) + arena.used + instruction.length));
    const auto moved_32 = static_cast<std::int32_t>(moved);
    if (moved_32 != moved) give_up("relative address out of reach", instruction.pc);
    std::memcpy(bytes + raw.raw.disp.offset, &moved_32, 4);
  }
  instruction.stub = emit(arena, bytes, instruction.length);

  instruction.data_buffer = arena.begin + 2048;
  if (!memory) {
    bool accesses = false;  // without saying where, as xlat does
    for (int i = 0; i < instruction.operands; ++i) accesses = accesses || instruction.operand[i].access;
    if (!accesses) instruction.data_stub = instruction.stub;
    return;
  }
  u8 other[32] = {};
  std::memcpy(other, bytes, instruction.length);
  for (int i = 0; i < raw.raw.prefix_count; ++i) {  // neither fs nor 32-bit addresses for the buffer
    if (other[i] == 0x64 || other[i] == 0x65 || other[i] == 0x67) other[i] = 0x3e;
  }
  other[raw.raw.modrm.offset] = static_cast<u8>((raw.raw.modrm.reg & 7) << 3 | 5);
  const std::size_t rest = instruction.length - tail;
  const std::size_t length = raw.raw.modrm.offset + std::size_t{5} + rest;
  const auto distance = static_cast<std::int32_t>(instruction.data_buffer - (arena.begin + arena.used + length));
  std::memcpy(other + raw.raw.modrm.offset + 1, &distance, 4);
  std::memcpy(other + raw.raw.modrm.offset + 5, bytes + tail, rest);
  instruction.data_stub = emit(arena, other, length);
}

// How a program speaks to valgrind: rol $3, rol $13, rol $61, rol $51 of rdi, then xchg rbx, rbx.
bool is_request(u64 pc) {
  static constexpr u8 request[] = {0x48, 0xc1, 0xc7, 0x03, 0x48, 0xc1, 0xc7, 0x0d, 0x48, 0xc1,
                                   0xc7, 0x3d, 0x48, 0xc1, 0xc7, 0x33, 0x48, 0x87, 0xdb};
  const auto* at = reinterpret_cast<const u8*>(pc);
  return at[0] == 0x48 && at[1] == 0x87 && at[2] == 0xdb && std::memcmp(at - 16, request, sizeof request) == 0;
}

constexpr std::size_t num_slots = std::size_t{1} << 17;

}  // namespace

Instruction& instruction_at(u64 pc) noexcept {
  static Instruction** slots = static_cast<Instruction**>(pages(num_slots * sizeof(Instruction*)));
  static Instruction* store = static_cast<Instruction*>(pages(num_slots / 2 * sizeof(Instruction)));
  static std::size_t used = 0;
  std::size_t at = (pc * 0x9e3779b97f4a7c15u) >> 47;
  while (slots[at] != nullptr && slots[at]->pc != pc) at = (at + 1) % num_slots;
  if (slots[at] != nullptr) return *slots[at];
  if (used == num_slots / 2) give_up("too many instructions", pc);
  Instruction& made = *new (&store[used++]) Instruction;
  if (!decode(reinterpret_cast<const u8*>(pc), ZYDIS_MAX_INSTRUCTION_LENGTH, pc, made)) {
    give_up("no instruction", pc);
  }
  if (is_request(pc)) made.rule = Rule::request;
  make_stubs(made);
  slots[at] = &made;
  return made;
}

}  // namespace stepper
