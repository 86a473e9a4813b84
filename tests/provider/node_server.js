// node_server.js CERT KEY GROUPS: a TLS server by Node's own OpenSSL. Prints its port and leaves it to the client to close.
const fs = require('fs');
const [cert, key, ecdhCurve] = process.argv.slice(2);
const server = require('tls').createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key), ecdhCurve,
  minVersion: 'TLSv1.3'}, (socket) => { socket.on('error', () => {}); socket.resume(); });
server.on('tlsClientError', (error) => console.log(`error ${error.code}`));
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
