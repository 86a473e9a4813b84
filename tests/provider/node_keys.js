// node_keys.js make ML-KEM-768 PRIVATE PUBLIC: a key pair by Node's own OpenSSL, as PEM.
// node_keys.js same PRIVATE PUBLIC: prints "same" if Node reads both and finds them to be a pair.
const crypto = require('crypto'), fs = require('fs');
const [what, ...files] = process.argv.slice(2);
if (what === 'make') {
  const pair = crypto.generateKeyPairSync(files[0].toLowerCase());
  fs.writeFileSync(files[1], pair.privateKey.export({type: 'pkcs8', format: 'pem'}));
  fs.writeFileSync(files[2], pair.publicKey.export({type: 'spki', format: 'pem'}));
} else {
  const priv = crypto.createPrivateKey(fs.readFileSync(files[0])), pub = crypto.createPublicKey(fs.readFileSync(files[1]));
  const sent = crypto.encapsulate(pub), received = crypto.decapsulate(priv, sent.ciphertext);
  console.log(received.equals(sent.sharedKey) && crypto.createPublicKey(priv).equals(pub) ? 'same' : 'different');
}
