// X25519MLKEM768 made of Node's own ML-KEM-768 and X25519, both sides. Standard input and output: JSON, bytes as base64.
// {"eks": [...]}             -> {"sent": [{c, K}, ...], "eks": [...]} and waits; the eks are of its own keys
// {"cs": [...]} (next line)  -> {"Ks": [...]}
import crypto from 'node:crypto';
import readline from 'node:readline';

const key = {
  public: (type, bytes) => crypto.createPublicKey({ key: bytes, format: 'raw-public', asymmetricKeyType: type }),
  raw: (publicKey) => publicKey.export({ format: 'raw-public' }),
};
const split = (bytes, at) => [bytes.subarray(0, at), bytes.subarray(at)];
const base64 = (...parts) => Buffer.concat(parts).toString('base64');

function encaps(ek) {
  const [ekM, X] = split(ek, 1184);
  const sent = crypto.encapsulate(key.public('ml-kem-768', ekM));
  const own = crypto.generateKeyPairSync('x25519');
  const ss = crypto.diffieHellman({ privateKey: own.privateKey, publicKey: key.public('x25519', X) });
  return { c: base64(sent.ciphertext, key.raw(own.publicKey)), K: base64(sent.sharedKey, ss) };
}

function decaps([mlKem, x25519], c) {
  const [cM, X] = split(c, 1088);
  const ss = crypto.diffieHellman({ privateKey: x25519.privateKey, publicKey: key.public('x25519', X) });
  return base64(crypto.decapsulate(mlKem.privateKey, cM), ss);
}

let pairs = [];
for await (const line of readline.createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const bytes = (name) => asked[name].map((one) => Buffer.from(one, 'base64'));
  if (asked.eks) {
    pairs = asked.eks.map(() => ['ml-kem-768', 'x25519'].map((type) => crypto.generateKeyPairSync(type)));
    const eks = pairs.map(([mlKem, x25519]) => base64(key.raw(mlKem.publicKey), key.raw(x25519.publicKey)));
    console.log(JSON.stringify({ sent: bytes('eks').map(encaps), eks }));
  } else {
    console.log(JSON.stringify({ Ks: bytes('cs').map((c, i) => decaps(pairs[i], c)) }));
  }
}
