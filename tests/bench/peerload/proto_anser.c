/* Anser: u<id> logs in with line id+1 of the token file (-A FILE, made by `anser token`), sends texts, confirms what a
   read brought (cursor and delivered position), and syncs what waited for it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "peerload.h"
enum { LOGIN = 1, SEND = 4, CONFIRM = 5, SYNC = 6, EVENT = 64, RECEIPT = 65 };
typedef struct { uint8_t b[4600]; size_t n; } pbuf;
static char **tokens; static size_t ntokens;

static void varint(pbuf *p, uint64_t v) { while (v > 127) { p->b[p->n++] = v | 128; v >>= 7; } p->b[p->n++] = v; }
static void num(pbuf *p, int field, uint64_t v) { varint(p, field << 3); varint(p, v); }
static void str(pbuf *p, int field, const void *d, size_t n) { varint(p, field << 3 | 2); varint(p, n); memcpy(p->b + p->n, d, n); p->n += n; }
static void frame(conn *c, int command, uint32_t request, const pbuf *p)
{
    uint8_t h[16] = { 'A', 'N', 1, 1, command >> 8, command, 0, 0, request >> 24, request >> 16, request >> 8, request,
                      p->n >> 24, p->n >> 16, p->n >> 8, p->n };
    out(c, h, sizeof h); out(c, p->b, p->n);
}
static void load_tokens(void)
{
    FILE *f = fopen(O.pass, "r"); char *line = NULL; size_t cap = 0; ssize_t n;
    if (!f) { fprintf(stderr, "anser: -A names the token file, one token a line\n"); exit(1); }
    while ((n = getline(&line, &cap, f)) > 0) {
        if (line[n - 1] == '\n') line[n - 1] = 0;
        tokens = realloc(tokens, (ntokens + 1) * sizeof *tokens); tokens[ntokens++] = strdup(line);
    }
    free(line); fclose(f);
}
static void start(conn *c)
{
    pbuf p = { .n = 0 };
    if (!tokens) load_tokens();
    if ((size_t)c->id >= ntokens) { eng_fail(c, "no token", "", 0); return; }
    str(&p, 1, tokens[c->id], strlen(tokens[c->id])); str(&p, 2, "load", 4); str(&p, 3, "api", 3);
    frame(c, LOGIN, 1, &p);
}
static void sync_after(conn *c)
{
    pbuf p = { .n = 0 }; num(&p, 1, c->a); frame(c, SYNC, 2, &p);
}
/* the next field; its number, or 0 at the end */
typedef struct { const uint8_t *p, *e; int wire; uint64_t v; const uint8_t *d; size_t n; } rd;
static int next(rd *r)
{
    uint64_t v[2];
    for (int i = 0, two = 2; i < two; i++) {
        if (r->p >= r->e) return 0;
        v[i] = 0;
        for (int s = 0; r->p < r->e; s += 7) { v[i] |= (uint64_t)(*r->p & 127) << s; if (!(*r->p++ & 128)) break; }
        if (i == 0) { r->wire = v[0] & 7; if (r->wire == 1) { memcpy(&r->v, r->p, 8); r->p += 8; return v[0] >> 3; } }
    }
    r->v = v[1];
    if (r->wire == 2) { r->d = r->p; r->n = v[1]; if (r->n > (size_t)(r->e - r->p)) return 0; r->p += r->n; }
    return v[0] >> 3;
}
static void event(conn *c, const uint8_t *d, size_t n, pbuf *position)
{
    rd e = { d, d + n, 0, 0, 0, 0 }; int f, g; uint64_t inbox = 0;
    while ((f = next(&e))) {
        if (f == 1) inbox = e.v;
        if (f != 2) continue;
        rd m = { e.d, e.d + e.n, 0, 0, 0, 0 }; const uint8_t *from = NULL; size_t from_n = 0; uint64_t seq = 0;
        while ((g = next(&m))) {
            if (g == 2) seq = m.v;
            if (g == 4) { from = m.d; from_n = m.n; }
            if (g == 9) eng_deliver(c, (const char *)m.d, m.n);
        }
        char self[32]; size_t self_n = (size_t)sprintf(self, "u%d", c->id);
        if (from_n == self_n && memcmp(from, self, self_n) == 0) continue; /* our own, from an earlier run */
        position->n = 0; str(position, 1, from, from_n); num(position, 2, seq);
    }
    if (inbox > c->a) c->a = inbox;
}
static long data(conn *c, char *buf, size_t n)
{
    size_t o = 0; pbuf position = { .n = 0 }; uint32_t acked = c->acked; int more = 0;
    while (n - o >= 16) {
        const uint8_t *h = (const uint8_t *)buf + o;
        size_t len = (size_t)h[12] << 24 | h[13] << 16 | h[14] << 8 | h[15]; int command = h[4] << 8 | h[5], f;
        if (n - o < 16 + len) break;
        rd r = { h + 16, h + 16 + len, 0, 0, 0, 0 };
        if (h[7] & 2) { eng_fail(c, "error", (const char *)h + 16, len); if (command != SEND) return -1; }
        else if (command == LOGIN) {
            uint64_t head = 0;
            while ((f = next(&r))) { if (f == 5) head = r.v; if (f == 6) c->a = r.v; }
            eng_ready(c); if (head > c->a) sync_after(c);
        } else if (command == SEND) acked++;
        else if (command == EVENT) event(c, h + 16, len, &position);
        else if (command == SYNC) {
            more = 1;
            while ((f = next(&r))) { if (f == 1) event(c, r.d, r.n, &position); if (f == 4 && r.v) more = 0; }
        } else if (command != CONFIRM && command != RECEIPT) { eng_fail(c, "unexpected", (const char *)h + 16, len); return -1; }
        o += 16 + len;
    }
    eng_acked(c, acked);
    if (position.n) { pbuf p = { .n = 0 }; num(&p, 1, c->a); str(&p, 2, position.b, position.n); frame(c, CONFIRM, 3, &p); }
    if (more) sync_after(c);
    return o;
}
static void send_msg(conn *c, int to, const char *b, size_t n)
{
    static uint16_t run; struct timespec t; char name[32]; pbuf p = { .n = 0 };
    clock_gettime(CLOCK_REALTIME, &t);
    if (!run) run = t.tv_nsec >> 8 | 1;
    uint64_t ms = t.tv_sec * 1000ull + t.tv_nsec / 1000000;
    uint8_t id[16] = { ms >> 40, ms >> 32, ms >> 24, ms >> 16, ms >> 8, ms, 0x70 | (run >> 8 & 15), run, 0x80,
                       c->id >> 16, c->id >> 8, c->id, c->sent >> 24, c->sent >> 16, c->sent >> 8, c->sent };
    str(&p, 1, name, sprintf(name, "u%d", to)); str(&p, 2, id, 16); num(&p, 3, 1); str(&p, 4, b, n);
    frame(c, SEND, c->sent + 16, &p);
}
static void send_group(conn *c, const char *b, size_t n) { (void)b; (void)n; eng_fail(c, "no groups yet", "", 0); }
static void nothing(conn *c) { (void)c; }
static void provision(conn *c, int id) { (void)id; eng_provisioned(c, 1); }   /* `anser user add` did it */
const proto P_anser = { "anser", start, data, send_msg, send_group, nothing, nothing, nothing, provision };
