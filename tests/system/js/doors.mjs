// A stranger at the doors: npm's ws, which checks what it is sent more strictly than we do.
//   node doors.mjs URL CA TOKEN_ALICE TOKEN_BOB
// prints `ok NAME` or `FAIL NAME: why` for each check, and ends with 1 when one failed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

const [url, caFile, alice, bob] = process.argv.slice(2);
const ca = fs.readFileSync(caFile);
const LOGIN = 1, LOGOUT = 2, HEARTBEAT = 3, SEND = 4, EVENT = 64, GOODBYE = 66;
const HEADER = 16, WAIT_MS = 20000;

// --- frames, by hand

function field(number, value) {
  const data = Buffer.from(value);
  const size = [];
  for (let n = data.length; ; n >>= 7) {
    size.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) break;
  }
  return Buffer.concat([Buffer.from([number << 3 | 2, ...size]), data]);
}

function frame(command, request, ...fields) {
  const body = Buffer.concat(fields);
  const head = Buffer.alloc(HEADER);
  head.write('AN');
  head[2] = head[3] = 1;
  head.writeUInt16BE(command, 4);
  head.writeUInt32BE(request, 8);
  head.writeUInt32BE(body.length, 12);
  return Buffer.concat([head, body]);
}

const login = (token, device) => frame(LOGIN, 1, field(1, token), field(2, device));
const heartbeat = (request) => frame(HEARTBEAT, request);

function id() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = 0x70 | (bytes[6] & 15);
  bytes[8] = 0x80 | (bytes[8] & 63);
  return bytes;
}

const send = (request, to, body) => frame(
  SEND, request, field(1, to), field(2, id()), Buffer.from([3 << 3, 3]), field(4, body));

// --- a client

class Peer {
  constructor(protocols = [], options = {}) {
    this.got = [];
    this.waiting = [];
    this.ws = new WebSocket(options.url ?? url, protocols, { ca, ...options });
    this.ws.on('message', (data, binary) => this.take({ data, binary }));
    this.ws.on('pong', (data) => this.take({ pong: data }));
    this.closed = new Promise((resolve) => {
      this.ws.on('error', (error) => { this.error = error; });
      this.ws.on('close', (code, reason) => resolve([code, reason.toString()]));
    });
  }

  take(item) {
    this.got.push(item);
    this.waiting.splice(0).forEach((wake) => wake());
  }

  async open() {
    await Promise.race([once(this.ws, 'open'), this.closed.then(() => { throw this.error; })]);
    return this;
  }

  async next() {
    while (this.got.length === 0) {
      await Promise.race([new Promise((wake) => this.waiting.push(wake)), this.closed]);
      if (this.got.length === 0 && this.ws.readyState === WebSocket.CLOSED) {
        throw new Error('closed');
      }
    }
    return this.got.shift();
  }

  // The next frame: [command, request, body]. Each is one binary message.
  async frame() {
    const { data, binary } = await this.next();
    assert(binary && data.subarray(0, 2).toString() === 'AN');
    assert.equal(data.readUInt32BE(12), data.length - HEADER);
    return [data.readUInt16BE(4), data.readUInt32BE(8), data.subarray(HEADER)];
  }

  async until(command) {
    for (;;) {
      const found = await this.frame();
      if (found[0] === command) return found;
    }
  }

  async loggedIn(token = alice, device = 'ws') {
    await this.open();
    this.ws.send(login(token, device));
    assert.equal((await this.frame())[0], LOGIN);
    return this;
  }

  // In fragments of so many bytes; `between` comes after each.
  cut(data, size, between = () => {}, binary = true) {
    for (let at = 0; at < data.length; at += size) {
      this.ws.send(data.subarray(at, at + size), { binary, fin: at + size >= data.length });
      between();
    }
  }

  // What ws would never send.
  raw(...bytes) {
    this.ws._socket.write(Buffer.concat(bytes.map((part) => Buffer.from(part))));
  }

  async endsWith(code, reason) {
    const [gotCode, gotReason] = await this.closed;
    assert.equal(gotCode, code, `${gotCode} ${gotReason}`);
    if (reason !== undefined) assert.equal(gotReason, reason);
  }
}

const MASK = [1, 2, 3, 4];
const masked = (data) => Buffer.from(data).map((byte, i) => byte ^ MASK[i & 3]);
// One frame of the WebSocket whose first byte is given.
const piece = (first, data = []) => Buffer.concat(
  [Buffer.from([first, 0x80 | data.length, ...MASK]), masked(data)]);

// --- the checks

const checks = {
  async 'frames pass in both directions, of every size'() {
    const from = await new Peer('anser.protobuf').loggedIn(alice, 'sizes');
    const to = await new Peer().loggedIn(bob, 'sizes');
    assert.equal(from.ws.protocol, 'anser.protobuf');
    assert.equal(to.ws.protocol, '');
    assert.equal(from.ws.extensions, '', 'ws offers compression, and nothing agrees to it');
    for (const [n, size] of [1, 100, 125, 126, 60000, 65535, 65536].entries()) {
      const body = randomBytes(size);
      from.ws.send(send(n + 2, 'bob', body));
      const [, request] = await from.until(SEND);
      assert.equal(request, n + 2);
      const [, , event] = await to.until(EVENT);
      assert(event.includes(body), `${size} bytes`);
    }
    from.ws.close();
    to.ws.close();
  },

  async 'fragments of any size are one stream, pings between them are answered'() {
    const peer = await new Peer().open();
    let pings = 0;
    const message = Buffer.concat([login(alice, 'cut'), heartbeat(2), heartbeat(3)]);
    peer.cut(message, 7, () => { if (pings++ % 10 === 0) peer.ws.ping(Buffer.from('p')); });
    let pongs = 0;
    const answers = [];
    while (answers.length < 3 || pongs < Math.ceil(pings / 10)) {
      const item = await peer.next();
      if (item.pong) {
        assert.equal(item.pong.toString(), 'p');
        pongs++;
      } else {
        answers.push(item.data.readUInt32BE(8));
      }
    }
    assert.deepEqual(answers.sort(), [1, 2, 3]);
    peer.ws.ping(Buffer.alloc(125, 1));
    assert.equal((await peer.next()).pong.length, 125);
    peer.ws.pong();
    peer.ws.send(heartbeat(4));
    assert.equal((await peer.frame())[1], 4);
    peer.ws.close();
  },

  async 'the JSON form'() {
    const peer = await new Peer(['anser.json', 'foreign']).open();
    assert.equal(peer.ws.protocol, 'anser.json');
    const heard = async () => {
      for (;;) {
        const { data, binary } = await peer.next();
        assert(!binary);
        const object = JSON.parse(data.toString());
        if (!object.push) return object;
      }
    };
    const ask = (command, body) => {
      peer.ws.send(JSON.stringify({ command, request: 9, body }));
      return heard();
    };
    assert.equal((await ask('Login', { token: alice, device: 'json' })).body.user, 'alice');
    const hex = id().toString('hex');
    const sent = await ask('Send', { to: 'bob', type: 1, body: '鸿雁 \u{1F426}', client_msg_id: hex });
    assert.equal(sent.body.client_msg_id.replaceAll('-', ''), hex);
    const page = await ask('History', { peer: 'bob', limit: 1 });
    assert.equal(page.body.messages[0].body, '鸿雁 \u{1F426}');
    // Cut through its characters.
    peer.cut(Buffer.from('{"command":"Heartbeat","request":3,"body":{"鸿":"雁"}}'), 1, () => {}, false);
    assert.equal((await heard()).answer, 'Heartbeat');
    assert.equal((await ask('Shout')).body.name, 'COMMAND');
    assert.deepEqual((await ask('Logout')).body, {});
    await peer.endsWith(1000);
  },

  async 'what is too long is closed with 1009'() {
    const long = await new Peer().loggedIn();
    long.ws.send(Buffer.alloc((1 << 20) + 1));
    await long.endsWith(1009);
    const cut = await new Peer().loggedIn();
    cut.cut(Buffer.alloc((1 << 20) + 1), 65536);
    const [code] = await cut.closed; // its frames are none long before
    assert([1002, 1007, 1009, 4600].includes(code), `${code}`);
    const text = await new Peer('anser.json').open();
    text.ws.send(' '.repeat(524289));
    await text.endsWith(1009);
    const big = await new Peer().loggedIn();
    big.ws.send(frame(SEND, 2, field(4, Buffer.alloc(70000))));
    assert.equal((await big.until(GOODBYE))[0], GOODBYE);
    await big.endsWith(4602, 'FRAME_TOO_LARGE');
  },

  async 'broken framing is closed with 1002'() {
    for (const [name, bytes] of Object.entries({
      'not masked': [0x82, 1, 0],
      'an opcode that is none': piece(0x83),
      'a control opcode that is none': piece(0x8b),
      'a reserved bit': piece(0xc2, [1]),
      'a fragment out of its order': piece(0x80, [1]),
      'a ping in fragments': piece(0x09, [1]),
      'a long ping': [0x89, 0x80 | 126, 0, 126, ...MASK],
      'half a code': piece(0x88, [3]),
      'a code that is none': piece(0x88, [3, 0xed]), // 1005
      'a length that is not the shortest': [0x82, 0x80 | 126, 0, 5, ...MASK],
    })) {
      const peer = await new Peer().loggedIn();
      peer.raw(bytes);
      const [code] = await peer.closed;
      assert.equal(code, 1002, `${name}: ${code}`);
    }
    const two = await new Peer().loggedIn();
    two.raw(piece(0x02, [0x41]), piece(0x82, [0x4e]));
    await two.endsWith(1002);
    const open = await new Peer().loggedIn();
    open.ws.send(heartbeat(2), { mask: false });
    await open.endsWith(1002);
  },

  async 'wrong contents are closed with 1003 and 1007'() {
    const text = await new Peer().loggedIn();
    text.ws.send('a text');
    await text.endsWith(1003);
    const binary = await new Peer('anser.json').open();
    binary.ws.send(heartbeat(2));
    await binary.endsWith(1003);
    const half = await new Peer().loggedIn();
    half.ws.send(heartbeat(2).subarray(0, 9));
    await half.endsWith(1007);
    for (const wrong of [Buffer.from('{"command":"\xff"}', 'latin1'), Buffer.from('[]'), Buffer.from('{')]) {
      const peer = await new Peer('anser.json').open();
      peer.ws.send(wrong, { binary: false });
      await peer.endsWith(1007);
    }
    const reason = await new Peer().loggedIn();
    reason.raw(piece(0x88, [3, 0xe8, 0xff]));
    await reason.endsWith(1007);
  },

  async 'closes say why, and are answered with their own code'() {
    for (const [code, reason] of [[1000, 'bye'], [1001, ''], [3000, 'x'.repeat(123)], [4999, '雁']]) {
      const peer = await new Peer().loggedIn();
      peer.ws.close(code, reason);
      await peer.endsWith(code);
    }
    const none = await new Peer().loggedIn();
    none.ws.close();
    await none.endsWith(1005);
    const out = await new Peer().loggedIn();
    out.ws.send(frame(LOGOUT, 2));
    assert.equal((await out.until(LOGOUT))[1], 2);
    await out.endsWith(1000);
    const early = await new Peer().open();
    early.ws.send(heartbeat(2));
    await early.endsWith(4100, 'LOGIN_REQUIRED');
    const first = await new Peer().loggedIn(alice, 'twice');
    const second = await new Peer().loggedIn(alice, 'twice');
    await first.endsWith(4106, 'REPLACED');
    second.ws.terminate();
    const wrong = await new Peer().open();
    wrong.ws.send(login(`${alice}x`, 'thief'));
    await wrong.endsWith(4101, 'TOKEN_INVALID');
  },

  async 'openings that will not do are told in HTTP'() {
    for (const [status, options, protocols] of [
      [404, { url: `${url}/chat` }],
      [426, { protocolVersion: 8 }],
      [431, { headers: { cookie: 'x'.repeat(9000) } }],
    ]) {
      const peer = new Peer(protocols, options);
      await peer.closed;
      assert.equal(peer.error.message, `Unexpected server response: ${status}`);
    }
    const foreign = new Peer('chat');
    await foreign.closed;
    assert.match(foreign.error.message, /no subprotocol|Unexpected server response: 400/);
    if (url.startsWith('wss:')) {
      const stranger = new Peer([], { ca: undefined });
      await stranger.closed;
      assert.match(stranger.error.message, /self-signed|unable to verify|local issuer/);
    }
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const began = performance.now();
  let timer;
  const late = new Promise((_, no) => {
    timer = setTimeout(() => no(new Error('not in time')), WAIT_MS);
  });
  try {
    await Promise.race([check(), late]);
    console.log(`ok ${name} ${Math.round(performance.now() - began)} ms`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
  }
  clearTimeout(timer);
}
process.exit(failed ? 1 : 0);
