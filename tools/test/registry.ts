/** A real registry: Debian's docker-registry, with the logins, tokens and rules that registries have. */
import { execFileSync } from "node:child_process";
import { createHash, createSign, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { until } from "../../lib/failure.ts";
import { installed } from "../../lib/test/debian.ts";
import { freePort } from "../../lib/test/free-port.ts";

/** The one who may pull and push. */
export const user = { name: "robot", password: "s3cret:with:colons", identityToken: "refresh-me" };

const program = "/usr/bin/docker-registry";
const issuer = "test-tokens";

/** How a registry wants to know who asks. */
export type Door = "token" | "basic" | "open";

/** A registry with a door in front; what it is asked through the door is written down. */
export class RealRegistry {
  readonly directory = mkdtempSync(join(tmpdir(), "registry-"));
  /** Requests of manifests through the door: method, path, and the scheme of the authorization. */
  readonly asked: string[] = [];
  /** Set, a status that the door answers to everything with, or that it hangs up. */
  fails: number | "hangs up" | undefined;
  /** No tag is written twice. */
  immutable = true;
  #door: Server | undefined;
  #process: { kill: (signal?: NodeJS.Signals) => unknown } | undefined;
  #behind = 0;
  readonly #kind: Door;

  private constructor(kind: Door) {
    this.#kind = kind;
  }

  /** `127.0.0.1:PORT` of the door. */
  get host(): string {
    const address = this.#door?.address() as AddressInfo | undefined;
    return `127.0.0.1:${address?.port}`;
  }

  static async open(kind: Door): Promise<RealRegistry> {
    installed("docker-registry");
    const registry = new RealRegistry(kind);
    await registry.#start();
    return registry;
  }

  async #start(): Promise<void> {
    const door = createServer((request, response) => void this.#answer(request, response));
    this.#door = door;
    await new Promise<void>((done) => door.listen(0, "127.0.0.1", done));
    this.#behind = await freePort();
    const path = (name: string): string => join(this.directory, name);
    if (this.#kind === "token") {
      const subject = [
        "-subj",
        "/CN=tokens",
        "-days",
        "2",
        "-nodes",
        "-keyout",
        path("key"),
        "-out",
        path("certificate"),
      ];
      execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", ...subject], { stdio: "ignore" });
    }
    const auth = {
      realm: `http://${this.host}/token`,
      service: "registry",
      issuer,
      rootcertbundle: path("certificate"),
    };
    const configuration = {
      version: "0.1",
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: path("data") } },
      http: { addr: `127.0.0.1:${this.#behind}` },
      ...(this.#kind === "token" && { auth: { token: auth } }),
    };
    // JSON is YAML.
    writeFileSync(path("config.yml"), JSON.stringify(configuration));
    const child = execa(program, ["serve", path("config.yml")], { reject: false, stdio: "ignore" });
    this.#process = child;
    await until("the registry", 60, async () => {
      await fetch(`http://127.0.0.1:${this.#behind}/v2/`);
      return undefined;
    });
  }

  /** Puts an image there, as a builder would. @param name without host and tag */
  async put(name: string, tag: string): Promise<string> {
    const base = `http://127.0.0.1:${this.#behind}/v2/${name}`;
    const headers =
      this.#kind === "token" ? { authorization: `Bearer ${this.#sign(name, ["pull", "push"])}` } : {};
    const blob = async (text: string): Promise<{ digest: string; size: number }> => {
      const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
      const begun = await fetch(`${base}/blobs/uploads/`, { method: "POST", headers });
      const url = new URL(begun.headers.get("location") ?? "", base);
      url.searchParams.set("digest", digest);
      const done = await fetch(url, { method: "PUT", headers, body: text });
      if (!done.ok) throw new Error(`the blob was refused: ${done.status} ${await done.text()}`);
      return { digest, size: text.length };
    };
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const config = {
      mediaType: "application/vnd.oci.image.config.v1+json",
      ...(await blob(`{"tag":"${tag}"}`)),
    };
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] });
    const type = { ...headers, "content-type": mediaType };
    const done = await fetch(`${base}/manifests/${tag}`, { method: "PUT", headers: type, body: manifest });
    if (!done.ok) throw new Error(`the manifest was refused: ${done.status} ${await done.text()}`);
    return `sha256:${createHash("sha256").update(manifest).digest("hex")}`;
  }

  async close(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await new Promise((done) => this.#door?.close(done));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "", headers } = request;
    if (url.startsWith("/token")) return this.#token(request, response);
    this.asked.push(`${method} ${url} ${headers.authorization?.split(" ")[0] ?? ""}`.trim());
    if (this.fails === "hangs up") return void request.socket.destroy();
    if (this.fails !== undefined) return void response.writeHead(this.fails).end();
    if (this.#kind === "basic" && headers.authorization !== basic(user.name, user.password))
      return void response.writeHead(401, { "www-authenticate": 'Basic realm="a registry"' }).end();
    const body = await readAll(request);
    const ask = (as: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${this.#behind}${url}`, {
        method: as,
        headers: {
          ...(headers.accept && { accept: headers.accept }),
          ...(this.#kind === "token" && headers.authorization && { authorization: headers.authorization }),
          ...(headers["content-type"] && { "content-type": headers["content-type"] }),
        },
        ...(as === "GET" || as === "HEAD" ? {} : { body: new Uint8Array(body) }),
      });
    if (this.immutable && method === "PUT" && url.includes("/manifests/") && (await ask("HEAD")).ok)
      return void response
        .writeHead(400)
        .end('{"errors":[{"code":"TAG_INVALID","message":"tag is immutable"}]}');
    const answer = await ask(method);
    const passed = [...answer.headers].filter(
      ([name]) => !/^(content-length|transfer-encoding|connection)$/.test(name),
    );
    response.writeHead(answer.status, Object.fromEntries(passed));
    response.end(Buffer.from(await answer.arrayBuffer()));
  }

  // Everybody gets a token; of one who shows no login it opens what is public.
  async #token(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", `http://${this.host}`);
    const form = new URLSearchParams((await readAll(request)).toString());
    const { authorization } = request.headers;
    const known =
      authorization === basic(user.name, user.password) || form.get("refresh_token") === user.identityToken;
    if (!known && (authorization !== undefined || form.has("refresh_token")))
      return void response.writeHead(401).end('{"details":"incorrect username or password"}');
    const scope = form.get("scope") ?? url.searchParams.get("scope") ?? "";
    const [, name = ""] = /^repository:(.*):pull$/.exec(scope) ?? [];
    const actions = known || name.startsWith("public/") ? ["pull"] : [];
    const token = this.#sign(name, actions);
    response.end(JSON.stringify(form.has("refresh_token") ? { access_token: token } : { token }));
  }

  #sign(name: string, actions: string[]): string {
    const certificate = readFileSync(join(this.directory, "certificate"), "utf8").replace(
      /-----[^-]+-----|\s/g,
      "",
    );
    const now = Math.floor(Date.now() / 1000);
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const header = encode({ typ: "JWT", alg: "RS256", x5c: [certificate] });
    const claims = encode({
      iss: issuer,
      sub: user.name,
      aud: "registry",
      exp: now + 600,
      nbf: now - 60,
      iat: now,
      jti: randomUUID(),
      access: [{ type: "repository", name, actions }],
    });
    const key = readFileSync(join(this.directory, "key"), "utf8");
    return `${header}.${claims}.${createSign("RSA-SHA256").update(`${header}.${claims}`).sign(key, "base64url")}`;
  }
}

const basic = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`;

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
