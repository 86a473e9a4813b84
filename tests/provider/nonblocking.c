/* nonblocking PORT COUNT [GROUPS]: COUNT connections of TLS at once, on one thread and non-blocking sockets, from one
 * SSL_CTX. Prints the number of the group of each that succeeds. */
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 512 };

static int connect_to(int port) {
  struct sockaddr_in to;
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&to, 0, sizeof to);
  to.sin_family = AF_INET;
  to.sin_port = htons((unsigned short)port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (socket_fd < 0 || connect(socket_fd, (struct sockaddr*)&to, sizeof to) != 0) return -1;
  return fcntl(socket_fd, F_SETFL, O_NONBLOCK) == 0 ? socket_fd : -1;
}

int main(int argc, char** argv) {
  static SSL* connections[MOST];
  static struct pollfd waits[MOST];
  const int count = argc > 2 ? atoi(argv[2]) : 1;
  int left = count, failed = 0, i;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (argc < 2 || count < 1 || count > MOST || context == NULL) return 2;
  if (argc > 3 && SSL_CTX_set1_groups_list(context, argv[3]) != 1) {
    ERR_print_errors_fp(stderr);
    return 2;
  }
  for (i = 0; i < count; ++i) {
    waits[i].fd = connect_to(atoi(argv[1]));
    waits[i].events = POLLIN | POLLOUT;
    connections[i] = SSL_new(context);
    if (waits[i].fd < 0 || connections[i] == NULL || SSL_set_fd(connections[i], waits[i].fd) != 1) return 2;
    SSL_set_connect_state(connections[i]);
  }
  while (left > 0) {
    if (poll(waits, (nfds_t)count, 20000) <= 0) {
      fprintf(stderr, "nothing happens\n");
      return 1;
    }
    for (i = 0; i < count; ++i) {
      int result, error;
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      result = SSL_do_handshake(connections[i]);
      error = SSL_get_error(connections[i], result);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        waits[i].events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        continue;
      }
      if (result == 1) {
        /* Of a provider's group: its number with a flag above. */
        printf("%ld\n", (long)(SSL_get_negotiated_group(connections[i]) & 0xffff));
        SSL_shutdown(connections[i]);
      } else {
        ERR_print_errors_fp(stderr);
        ++failed;
      }
      close(waits[i].fd);
      waits[i].fd = -1;
      --left;
    }
  }
  for (i = 0; i < count; ++i) SSL_free(connections[i]);
  SSL_CTX_free(context);
  return failed != 0;
}
