/* Sockets, and what waits for them. See fail.h. */
#include "tests/fail/fail.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A function that is passed on unless it is to fail. */
#define PASS(kind, type, failed, name, parameters, arguments, fd)                                  \
	type name parameters                                                                       \
	{                                                                                          \
		FAIL_NEXT(name)                                                                    \
		return fail_call(kind, #name, NULL, fd) ? (failed) : next arguments;               \
	}

/* clang-format off */
PASS(FAIL_SOCKET, int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
PASS(FAIL_SOCKET, int, -1, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), -1)
PASS(FAIL_BIND, int, -1, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fd)
PASS(FAIL_BIND, int, -1, listen, (int fd, int backlog), (fd, backlog), fd)
PASS(FAIL_ACCEPT, int, -1, accept, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
PASS(FAIL_ACCEPT, int, -1, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags), fd)
PASS(FAIL_CONNECT, int, -1, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fd)
PASS(FAIL_OPTION, int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t size), (fd, level, name, value, size), fd)
PASS(FAIL_OPTION, int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size), fd)
PASS(FAIL_OPTION, int, -1, getsockname, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
PASS(FAIL_OPTION, int, -1, getpeername, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
PASS(FAIL_SEND, ssize_t, -1, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags), fd)
PASS(FAIL_SEND, ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), fd)
PASS(FAIL_RECEIVE, ssize_t, -1, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags), fd)
PASS(FAIL_RECEIVE, ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), fd)
PASS(FAIL_EPOLL_CREATE, int, -1, epoll_create1, (int flags), (flags), -1)
PASS(FAIL_EPOLL_CTL, int, -1, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event), fd)
PASS(FAIL_WAIT, int, -1, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout), (epoll, events, count, timeout), epoll)
PASS(FAIL_WAIT, int, -1, epoll_pwait, (int epoll, struct epoll_event *events, int count, int timeout, const sigset_t *mask), (epoll, events, count, timeout, mask), epoll)
PASS(FAIL_WAIT, int, -1, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout), fds[0].fd)
PASS(FAIL_PIPE, int, -1, eventfd, (unsigned value, int flags), (value, flags), -1)
PASS(FAIL_PIPE, int, -1, pipe2, (int fds[2], int flags), (fds, flags), -1)
/* clang-format on */

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		struct addrinfo **found)
{
	FAIL_NEXT(getaddrinfo)
	if (fail_call(FAIL_RESOLVE, "getaddrinfo", host, -1))
		return errno == ENOMEM ? EAI_MEMORY : EAI_SYSTEM;
	return next(host, service, hints, found);
}
