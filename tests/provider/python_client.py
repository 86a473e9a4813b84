"""python_client.py PORT CERT: Python's ssl, whose groups are those of openssl.cnf; connects, then resumes, and prints both."""
import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[2])
context.minimum_version = ssl.TLSVersion.TLSv1_3
session = None
for _ in range(2):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as plain, \
            context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
        session = connection.session
        print(connection.version(), connection.session_reused)
