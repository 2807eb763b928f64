/* usage: paced-load SECONDS RATE SIZE WRITES: RATE calls of SSL_write a second, each of SIZE bytes, WRITES of them one chat request; prints what it did as JSON.
 *
 * Both ends are in this process, so that one core is enough: a thread answers each request once its ciphertext is there, and decrypts nothing,
 * so that every call that a probe sees is one that was asked for: SIZE bytes written, and an answer written and read per request.
 *
 * Request N has the model "load-N" and a prompt of words that hold N and their own number, padded with spaces to fill the writes.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 8
/* TLS 1.3: header, content type and tag of one record. */
#define RECORD_OVERHEAD 22
#define TICKS_PER_SECOND 1000

static const char ANSWER_BODY[] =
	"{\"id\":\"chatcmpl-load\",\"object\":\"chat.completion\",\"model\":\"load\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
	"\"content\":\"noted\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}";

struct end {
	SSL *client, *server;
	int sockets[2];
	size_t drained; /* Ciphertext of the request under way. */
	bool asked; /* A request was sent whole and its answer not read. */
};

static struct end ends[CONNECTIONS];
static size_t request_ciphertext;
static char answer[1024];
static int answer_length;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *serve(void *unused)
{
	static char bin[1 << 18];
	struct pollfd polls[CONNECTIONS];

	(void)unused;
	for (int i = 0; i < CONNECTIONS; i++) {
		if (SSL_accept(ends[i].server) != 1) die("SSL_accept");
		polls[i] = (struct pollfd){ .fd = ends[i].sockets[1], .events = POLLIN };
	}
	for (;;) {
		if (poll(polls, CONNECTIONS, -1) < 0) die("poll");
		for (int i = 0; i < CONNECTIONS; i++) {
			if (!polls[i].revents) continue;
			ssize_t got = read(polls[i].fd, bin, sizeof(bin));
			if (got <= 0) return NULL;
			ends[i].drained += got;
			if (ends[i].drained < request_ciphertext) continue;
			ends[i].drained -= request_ciphertext;
			if (SSL_write(ends[i].server, answer, answer_length) != answer_length) die("SSL_write of an answer");
		}
	}
}

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	if (!X509_sign(certificate, key, EVP_sha256()) || SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1)
		die("certificate");
	SSL_CTX_set_num_tickets(context, 0);
	return context;
}

/* Writes request number n into out, which holds total bytes; the prompt is as long as makes it fill them. */
static void make_request(char *out, size_t total, unsigned n, int port)
{
	static const char TAIL[] = "\"}]}";
	char body_head[128], head[256];
	int body_head_length = snprintf(body_head, sizeof(body_head), "{\"model\":\"load-%u\",\"messages\":[{\"role\":\"user\",\"content\":\"", n);
	/* The length of the head depends on the digits of the length of the body: padding makes up for it. */
	int head_length = snprintf(head, sizeof(head),
		"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\ncontent-length: %010zu\r\n\r\n", port,
		(size_t)0);
	size_t body = total - head_length;

	snprintf(head, sizeof(head),
		"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\ncontent-length: %010zu\r\n\r\n", port, body);
	memcpy(out, head, head_length);
	memcpy(out + head_length, body_head, body_head_length);
	char *at = out + head_length + body_head_length, *end = out + total - (sizeof(TAIL) - 1);
	for (unsigned word = 0;; word++) {
		char text[32];
		int length = snprintf(text, sizeof(text), "r%u.w%u ", n, word);
		if (end - at < length) break;
		memcpy(at, text, length);
		at += length;
	}
	memset(at, ' ', end - at);
	memcpy(end, TAIL, sizeof(TAIL) - 1);
}

static void read_answer(struct end *end)
{
	char text[sizeof(answer)];
	int have = 0;

	while (have < answer_length) {
		int got = SSL_read(end->client, text, sizeof(text));
		if (got <= 0) die("SSL_read of an answer");
		have += got;
	}
	end->asked = false;
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 5) return 2;
	long seconds = atol(argv[1]), rate = atol(argv[2]), size = atol(argv[3]), writes = atol(argv[4]);
	long requests = seconds * rate / writes;
	size_t total = size * writes;
	char *request = malloc(total);
	SSL_CTX *client = SSL_CTX_new(TLS_client_method()), *server = server_context();
	pthread_t thread;

	SSL_CTX_set_min_proto_version(client, TLS1_3_VERSION);
	request_ciphertext = writes * (size + RECORD_OVERHEAD);
	answer_length = snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
		sizeof(ANSWER_BODY) - 1, ANSWER_BODY);
	for (int i = 0; i < CONNECTIONS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i].sockets)) die("socketpair");
		int room = 1 << 20;
		setsockopt(ends[i].sockets[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		ends[i].client = SSL_new(client);
		ends[i].server = SSL_new(server);
		SSL_set_fd(ends[i].client, ends[i].sockets[0]);
		SSL_set_fd(ends[i].server, ends[i].sockets[1]);
	}
	if (pthread_create(&thread, NULL, serve, NULL)) die("pthread_create");
	for (int i = 0; i < CONNECTIONS; i++)
		if (SSL_connect(ends[i].client) != 1) die("SSL_connect");

	double begin = now(), due = begin;
	long written = 0;
	for (long n = 0; n < requests; n++) {
		struct end *end = &ends[n % CONNECTIONS];
		if (end->asked) read_answer(end);
		make_request(request, total, n, 443);
		for (long i = 0; i < writes; i++) {
			if (SSL_write(end->client, request + i * size, size) != size) die("SSL_write");
			written++;
			if (written % (rate / TICKS_PER_SECOND) != 0) continue;
			due = begin + (double)written / rate;
			double wait = due - now();
			if (wait > 0) usleep(wait * 1e6);
		}
		end->asked = true;
	}
	for (int i = 0; i < CONNECTIONS; i++)
		if (ends[i].asked) read_answer(&ends[i]);
	double took = now() - begin;
	printf("{\"requests\":%ld,\"writes\":%ld,\"written_bytes\":%zu,\"answer_bytes\":%zu,\"seconds\":%.3f}\n", requests, written, total * requests,
		(size_t)answer_length * requests, took);
	return 0;
}
