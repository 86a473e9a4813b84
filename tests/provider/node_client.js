// node_client.js PORT GROUPS: asks for a page by Node's own OpenSSL and prints the group that it sees.
const [port, ecdhCurve] = process.argv.slice(2);
const socket = require('tls').connect({port: +port, host: '127.0.0.1', ecdhCurve, rejectUnauthorized: false,
  minVersion: 'TLSv1.3'}, () => {
  console.log(JSON.stringify(socket.getEphemeralKeyInfo()));
  socket.end('GET / HTTP/1.0\r\n\r\n');
});
socket.resume();
socket.on('error', (error) => { console.log(error.message); process.exit(1); });
