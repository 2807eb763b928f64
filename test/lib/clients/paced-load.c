/* usage: paced-load RAMP SECONDS RATE SIZE WRITES: chat requests of WRITES calls of SSL_write of SIZE bytes each, RATE calls a second; prints what it did as JSON.
 *
 * It begins with RAMP seconds of a tenth of the rate. Both ends are in this process, so that one core is enough: a thread answers each request
 * once its ciphertext is there, and decrypts nothing, so that a probe sees the requests once, and each answer where it is written and where it is read.
 *
 * Request N has the model "load-N" and a message as an agent sends it that shows a screenshot: a quarter of it is text, numbered words with
 * "load-N " at the beginning of each BLOCK bytes, the rest is an image in base64. N has 8 digits.
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
#define BLOCK 4096
#define DIGITS 8
#define MOST_MARKS 1024

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

/* Where the number of a request stands in its text. */
static char *marks[MOST_MARKS];
static int mark_count;

static void mark(char *at)
{
	if (mark_count == MOST_MARKS) exit(2);
	marks[mark_count++] = at;
}

/* The text of request 0, total bytes; number_request() makes any other of it. */
static char *make_request(size_t total)
{
	static const char HEAD[] = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %010zu\r\n\r\n";
	static const char BEGIN[] = "{\"model\":\"load-00000000\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"";
	static const char IMAGE[] = "\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,", END[] = "\"}}]}]}";
	static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc(total + 64);
	int head = snprintf(out, total, HEAD, (size_t)0);
	char *prompt = out + head + sizeof(BEGIN) - 1, *image = prompt + total / 4, *end = out + total - (sizeof(END) - 1);

	snprintf(out, total, HEAD, total - head);
	memcpy(out + head, BEGIN, sizeof(BEGIN) - 1);
	mark(strstr(out + head, "load-") + 5);
	for (char *at = prompt; at < image;) at += snprintf(at, 64, "w%u ", (unsigned)(at - prompt));
	for (char *at = prompt; at + BLOCK <= image; at += BLOCK) {
		memcpy(at, "load-00000000 ", 14);
		mark(at + 5);
	}
	memcpy(image, IMAGE, sizeof(IMAGE) - 1);
	for (char *at = image + sizeof(IMAGE) - 1; at < end; at++) *at = BASE64[(unsigned)rand() % 64];
	memcpy(end, END, sizeof(END) - 1);
	return out;
}

static void number_request(unsigned n)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%0*u", DIGITS, n);
	for (int i = 0; i < mark_count; i++) memcpy(marks[i], digits, DIGITS);
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

static long size, writes, sent, next_request;
static char *request;

/* Sends requests for so long at so many writes a second. Returns how long it took. */
static double send_for(double seconds, long rate)
{
	long requests = seconds * rate / writes, written = 0;
	double begin = now();

	for (long i = 0; i < requests; i++) {
		struct end *end = &ends[next_request % CONNECTIONS];
		if (end->asked) read_answer(end);
		number_request(next_request++);
		for (long w = 0; w < writes; w++) {
			if (SSL_write(end->client, request + w * size, size) != size) die("SSL_write");
			if (++written % (rate / TICKS_PER_SECOND) != 0) continue;
			double wait = begin + (double)written / rate - now();
			if (wait > 0) usleep(wait * 1e6);
		}
		end->asked = true;
	}
	sent = written;
	return now() - begin;
}

int main(int argc, char **argv)
{
	if (argc != 6) return 2;
	long rate = atol(argv[3]);
	SSL_CTX *client = SSL_CTX_new(TLS_client_method()), *server = server_context();
	pthread_t thread;

	size = atol(argv[4]);
	writes = atol(argv[5]);
	request = make_request(size * writes);
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

	send_for(atof(argv[1]), rate / 10);
	double took = send_for(atof(argv[2]), rate);
	for (int i = 0; i < CONNECTIONS; i++)
		if (ends[i].asked) read_answer(&ends[i]);
	/* What is still on its way is told before the ends of the connections are, which say how much there was. */
	usleep(500000);
	for (int i = 0; i < CONNECTIONS; i++) SSL_free(ends[i].client), SSL_free(ends[i].server);
	printf("{\"requests\":%ld,\"request_bytes\":%ld,\"answer_bytes\":%d,\"writes_per_second\":%.0f}\n", next_request, size * writes, answer_length, sent / took);
	return 0;
}
