// Tokens made by npm's jose, which has no code in common with what makes and reads them here.
//   node tokens.mjs make     [{"name", "alg", "kid", "secret" | "pem", "claims"}] on stdin;
//                            prints {NAME: TOKEN}. secret: base64url; pem: a private key
//   node tokens.mjs verify   {"token", "secret"} on stdin; prints its header and its claims
import { readFileSync } from 'node:fs';
import { SignJWT, UnsecuredJWT, base64url, importPKCS8, jwtVerify } from 'jose';

async function make({ alg, kid, secret, pem, claims }) {
  if (alg === 'none') return new UnsecuredJWT(claims).encode();
  const key = pem ? await importPKCS8(pem, alg) : base64url.decode(secret);
  return new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key);
}

const asked = JSON.parse(readFileSync(0, 'utf8'));
const answer = {};
if (process.argv[2] === 'make') {
  for (const one of asked) answer[one.name] = await make(one);
} else {
  const key = base64url.decode(asked.secret);
  const found = await jwtVerify(asked.token, key, { algorithms: ['HS256'], audience: 'anser' });
  Object.assign(answer, { header: found.protectedHeader, claims: found.payload });
}
console.log(JSON.stringify(answer));
