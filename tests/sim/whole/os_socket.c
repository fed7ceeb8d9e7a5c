/* The C library's functions on sockets and addresses: TCP over IPv4, host N is 10.0.0.N. */
#include "tests/sim/whole/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST_HOST 0x0a000000u

static int fail(int problem)
{
	errno = problem;
	return -1;
}

int socket(int domain, int type, int protocol)
{
	(void)protocol;
	if (domain != AF_INET || (type & 0xf) != SOCK_STREAM)
		return fail(EAFNOSUPPORT);
	return os_file_new(OS_FILE_SOCKET, type & SOCK_NONBLOCK ? O_NONBLOCK : 0);
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
	struct os_file *file = os_file(fd);
	struct sockaddr_in in;

	if (file == NULL || file->kind != OS_FILE_SOCKET || size < sizeof in)
		return fail(EINVAL);
	memcpy(&in, address, sizeof in);
	if (ntohl(in.sin_addr.s_addr) != FIRST_HOST + file->process->number)
		return fail(EADDRNOTAVAIL);
	if (os_port_in_use(file->process, ntohs(in.sin_port)))
		return fail(EADDRINUSE);
	file->port = ntohs(in.sin_port);
	return 0;
}

int listen(int fd, int backlog)
{
	struct os_file *file = os_file(fd);

	(void)backlog;
	if (file == NULL || (file->kind != OS_FILE_SOCKET && file->kind != OS_FILE_LISTENER))
		return fail(EINVAL);
	if (file->kind == OS_FILE_LISTENER)
		return 0;
	file->listener = os_listener_new(file->process, file->port);
	if (file->listener == NULL)
		return fail(EADDRINUSE);
	file->kind = OS_FILE_LISTENER;
	return 0;
}

static void tell_address(const struct os_stream *stream, bool mine, struct sockaddr *address,
			 socklen_t *size)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	unsigned host;
	uint16_t port;

	if (address == NULL)
		return;
	os_stream_address(stream, mine, &host, &port);
	in.sin_addr.s_addr = htonl(FIRST_HOST + host);
	in.sin_port = htons(port);
	memcpy(address, &in, *size < sizeof in ? *size : sizeof in);
	*size = sizeof in;
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
	struct os_file *file = os_file(fd);

	if (file == NULL || file->kind != OS_FILE_LISTENER)
		return fail(EINVAL);
	os_preempt();
	struct os_stream *stream = os_listener_accept(file->listener);

	if (stream == NULL)
		return fail(EAGAIN);
	int made = os_file_new(OS_FILE_STREAM, flags & SOCK_NONBLOCK ? O_NONBLOCK : 0);

	ASSERT(made >= 0);
	os_file(made)->stream = stream;
	tell_address(stream, false, address, size);
	return made;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	struct os_file *file = os_file(fd);
	struct sockaddr_in in;

	if (file == NULL || file->kind != OS_FILE_SOCKET || size < sizeof in)
		return fail(EINVAL);
	memcpy(&in, address, sizeof in);
	unsigned host = ntohl(in.sin_addr.s_addr) - FIRST_HOST;

	if (host == 0 || host >= OS_PROCESSES)
		return fail(ENETUNREACH);
	file->kind = OS_FILE_STREAM;
	file->stream = os_stream_connect(file->process, host, ntohs(in.sin_port));
	return fail(EINPROGRESS);
}

ssize_t send(int fd, const void *from, size_t size, int flags)
{
	struct os_file *file = os_file(fd);
	union {
		const void *from;
		void *base;
	} bytes = {.from = from};
	const struct iovec part = {.iov_base = bytes.base, .iov_len = size};

	(void)flags;
	if (file == NULL || file->kind != OS_FILE_STREAM)
		return fail(ENOTCONN);
	os_preempt();
	ssize_t sent = os_stream_send(file->stream, &part, 1);

	return sent < 0 ? fail((int)-sent) : sent;
}

ssize_t recv(int fd, void *into, size_t size, int flags)
{
	struct os_file *file = os_file(fd);

	(void)flags;
	if (file == NULL || file->kind != OS_FILE_STREAM)
		return fail(ENOTCONN);
	os_preempt();
	ssize_t got = os_stream_receive(file->stream, into, size);

	return got < 0 ? fail((int)-got) : got;
}

int shutdown(int fd, int how)
{
	struct os_file *file = os_file(fd);

	(void)how;
	if (file == NULL || file->kind != OS_FILE_STREAM)
		return fail(ENOTCONN);
	os_stream_shutdown(file->stream);
	return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	(void)level, (void)name, (void)value, (void)size;
	return os_file(fd) == NULL ? fail(EBADF) : 0;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
	struct os_file *file = os_file(fd);
	int found = 0;

	if (file == NULL || *size < sizeof found)
		return fail(EBADF);
	if (level == SOL_SOCKET && name == SO_ERROR && file->kind == OS_FILE_STREAM)
		found = os_stream_take_error(file->stream);
	if (level == SOL_SOCKET && name == SO_TYPE)
		found = SOCK_STREAM;
	memcpy(value, &found, sizeof found);
	*size = sizeof found;
	return 0;
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
	struct os_file *file = os_file(fd);

	if (file == NULL || file->kind != OS_FILE_STREAM)
		return fail(ENOTCONN);
	tell_address(file->stream, false, address, size);
	return 0;
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
	struct os_file *file = os_file(fd);
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (file == NULL)
		return fail(EBADF);
	if (file->kind == OS_FILE_STREAM) {
		tell_address(file->stream, true, address, size);
		return 0;
	}
	in.sin_addr.s_addr = htonl(FIRST_HOST + file->process->number);
	in.sin_port = htons(file->port);
	memcpy(address, &in, *size < sizeof in ? *size : sizeof in);
	*size = sizeof in;
	return 0;
}

/* ---- names: only numbers ---- */

struct resolved {
	struct addrinfo info;
	struct sockaddr_in address;
};

int getaddrinfo(const char *restrict host, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict into)
{
	struct resolved *resolved = memory_zeroed(1, sizeof *resolved);

	resolved->address.sin_family = AF_INET;
	if (service != NULL)
		resolved->address.sin_port = htons((uint16_t)strtoul(service, NULL, 10));
	if (inet_pton(AF_INET, host, &resolved->address.sin_addr) != 1) {
		memory_free(resolved);
		return EAI_NONAME;
	}
	resolved->info = (struct addrinfo){
		.ai_family = AF_INET,
		.ai_socktype = hints == NULL ? SOCK_STREAM : hints->ai_socktype,
		.ai_protocol = IPPROTO_TCP,
		.ai_addrlen = sizeof resolved->address,
		.ai_addr = (struct sockaddr *)(void *)&resolved->address,
	};
	*into = &resolved->info;
	return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
	memory_free(info);
}
