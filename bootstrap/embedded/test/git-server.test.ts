import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { bundle } from "../../../lib/test/bundle.ts";
import { slow } from "../../../lib/test/long.ts";
import { type PushEvent, parseCommits, parseUpdates, sign } from "../images/git-server/push-event.ts";

const image = resolve(import.meta.dirname, "../images/git-server");
// Node in the image can run TypeScript, but the one that runs the tests may be older.
const postReceive = await bundle(join(image, "post-receive.ts"));
const prepareRepository = await bundle(join(image, "prepare-repository.ts"));
const lighttpd = process.env.LIGHTTPD ?? "/usr/sbin/lighttpd";
const secret = "the secret of the webhook";
const zero = "0".repeat(40);

/** Listens on a free port of the loopback interface and returns it. */
async function listen(server: Server): Promise<number> {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return (server.address() as AddressInfo).port;
}

/** Stands for Argo CD: it keeps what it receives, and answers with `status`, or never if that is undefined. */
async function startReceiver() {
  const deliveries: { headers: IncomingHttpHeaders; body: string }[] = [];
  const receiver = { deliveries, status: 200 as number | undefined, url: "", stop: async () => {} };
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      deliveries.push({ headers: request.headers, body });
      if (receiver.status) response.writeHead(receiver.status).end();
    });
  });
  receiver.url = `http://127.0.0.1:${await listen(server)}/api/webhook`;
  receiver.stop = async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  return receiver;
}

/** Puts the image's files into a temporary directory, with a clone that has one commit. `main` is not pushed yet. */
async function layOut(webhookUrl: string) {
  const directory = await mkdtemp(join(tmpdir(), "git-server-"));
  const path = (name: string) => join(directory, name);
  for (const name of ["etc/auth", "etc/config", "hooks", "git"]) await mkdir(path(name), { recursive: true });
  await writeFile(path("etc/auth/users"), "platform:may-push\nargocd:may-read\n");
  await writeFile(path("etc/auth/webhook-secret"), secret);
  await writeFile(path("etc/config/host"), "git.example");
  await writeFile(path("etc/config/webhook-url"), `${webhookUrl}\n`);
  const hook = `#!/bin/sh\nexec '${process.execPath}' '${postReceive}'\n`;
  await writeFile(path("hooks/post-receive"), hook, { mode: 0o755 });
  const config = `[include]\n\tpath = ${image}/gitconfig\n[core]\n\thooksPath = ${path("hooks")}\n`;
  await writeFile(path("gitconfig"), config);
  const env = {
    PATH: process.env.PATH,
    LC_ALL: "C",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_SYSTEM: path("gitconfig"),
    GIT_TERMINAL_PROMPT: "0",
    GIT_SERVER_ETC: path("etc"),
  };
  const options = { env, extendEnv: false, reject: false, all: true } as const;
  const author = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
  const clone = path("clone");
  const repository = path("git/platform.git");

  const server = {
    env,
    clone,
    repository,
    git: (...args: string[]) => execa("git", ["-C", clone, ...author, ...args], options),
    prepare: () => execa("node", [prepareRepository, repository], options),
    /** Writes files (or removes those that are undefined), commits them and returns the commit's hash. */
    commit: async (files: Record<string, string | undefined>) => {
      for (const [name, content] of Object.entries(files)) {
        if (content === undefined) await rm(join(clone, name));
        else await writeFile(join(clone, name), content);
      }
      await server.git("add", "--all");
      await server.git("commit", "--quiet", "--message=test");
      return (await server.git("rev-parse", "HEAD")).stdout;
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
  await execa("git", ["init", "--quiet", "--initial-branch=main", clone], options);
  await server.commit({ kept: "1", changed: "1", removed: "1" });
  return server;
}

describe("a push event", () => {
  it("reads the updates Git hands to the hook", () => {
    expect(parseUpdates(`${zero} ${"a".repeat(40)} refs/heads/main\nb c refs/tags/v1\n`)).toEqual([
      { before: zero, after: "a".repeat(40), ref: "refs/heads/main" },
      { before: "b", after: "c", ref: "refs/tags/v1" },
    ]);
  });

  it("reads commits with unusual paths, and commits without files", () => {
    const [first, second] = ["1".repeat(40), "2".repeat(40)];
    expect(parseCommits(`${first}\0A\0with space\0T\0ü\0D\0A\0${second}\0`)).toEqual([
      { id: first, added: ["with space"], removed: ["A"], modified: ["ü"] },
      { id: second, added: [], removed: [], modified: [] },
    ]);
    expect(parseCommits("")).toEqual([]);
  });

  it("is signed as in GitHub's own example", () => {
    expect(sign("Hello, World!", "It's a Secret to Everybody")).toBe(
      "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    );
  });
});

describe("the repository", () => {
  let receiver: Awaited<ReturnType<typeof startReceiver>>;
  let server: Awaited<ReturnType<typeof layOut>>;

  beforeEach(async () => {
    receiver = await startReceiver();
    server = await layOut(receiver.url);
    expect(await server.prepare()).toMatchObject({ exitCode: 0, all: "" });
  });

  afterEach(async () => {
    await receiver.stop();
    await server.remove();
  });

  const push = (...refs: string[]) => server.git("push", server.repository, ...refs);

  it("is bare, with main as its branch, and stays as it is when prepared again", slow, async () => {
    const pushed = await push("main");
    expect(pushed).toMatchObject({ exitCode: 0 });
    await server.prepare();
    const head = await server.git("ls-remote", "--symref", server.repository, "HEAD");
    const main = await server.git("rev-parse", "main");
    expect(head.stdout).toBe(`ref: refs/heads/main\tHEAD\n${main.stdout}\tHEAD`);
  });

  it("is made again where it was half made", slow, async () => {
    await rm(server.repository, { recursive: true });
    await mkdir(`${server.repository}.unfinished/refs`, { recursive: true });
    await writeFile(`${server.repository}.unfinished/HEAD.lock`, "");
    await server.prepare();
    expect(await push("main")).toMatchObject({ exitCode: 0 });
    expect(await readdir(dirname(server.repository))).toEqual(["platform.git"]);
  });

  it("takes pushes again after a Git was killed in the middle of one", slow, async () => {
    const lock = join(server.repository, "refs/heads/main.lock");
    const quarantine = join(server.repository, "objects/tmp_objdir-incoming-x");
    await writeFile(lock, "");
    await mkdir(join(quarantine, "pack"), { recursive: true });
    expect(await push("main")).toMatchObject({ exitCode: 1 });
    await server.prepare();
    expect(existsSync(quarantine)).toBe(false);
    expect(await push("main")).toMatchObject({ exitCode: 0 });
  });

  it("refuses to rewrite or delete a branch", async () => {
    await push("main");
    await server.commit({ changed: "2" });
    await push("main");
    const rewritten = await push("--force", "main~1:main");
    expect(rewritten).toMatchObject({ exitCode: 1, all: expect.stringContaining("non-fast-forward") });
    const deleted = await push(":main");
    expect(deleted).toMatchObject({ exitCode: 1, all: expect.stringContaining("deletion prohibited") });
  });

  it("tells Argo CD of a push, signed, with the files of every commit", async () => {
    const before = (await server.git("rev-parse", "main")).stdout;
    const first = await push("main");
    expect(first.all).toContain("remote: Argo CD was notified.");
    const middle = await server.commit({ changed: "2", added: "1", removed: undefined });
    const after = await server.commit({ changed: "1" });
    await push("main");

    expect(receiver.deliveries).toHaveLength(2);
    const [creation, update] = receiver.deliveries.map(({ headers, body }) => {
      expect(headers["x-github-event"]).toBe("push");
      expect(headers["x-hub-signature-256"]).toBe(sign(body, secret));
      return JSON.parse(body) as PushEvent;
    });
    const repository = { html_url: "http://git.example/platform.git", default_branch: "main" };
    expect(creation).toEqual({
      ref: "refs/heads/main",
      before: zero,
      after: before,
      repository,
      commits: [],
    });
    expect(update).toEqual({
      ref: "refs/heads/main",
      before,
      after,
      repository,
      commits: [
        { id: middle, added: ["added"], removed: ["removed"], modified: ["changed"] },
        { id: after, added: [], removed: [], modified: ["changed"] },
      ],
    });
  });

  it("names what a merge brought to the branch", slow, async () => {
    await push("main");
    await server.git("checkout", "--quiet", "-b", "feature");
    await server.commit({ feature: "1" });
    await server.git("checkout", "--quiet", "main");
    await server.commit({ changed: "2" });
    await server.git("merge", "--quiet", "--no-edit", "feature");
    await push("main");
    const { commits } = JSON.parse(receiver.deliveries.at(-1)?.body ?? "") as PushEvent;
    expect(commits).toHaveLength(3);
    expect(commits.at(-1)).toMatchObject({ added: ["feature"], modified: [] });
  });

  it("keeps the push where the webhook refuses, hangs, is away or is not configured", slow, async () => {
    const attempt = async (content: string) => {
      await server.commit({ changed: content });
      const pushed = await push("main");
      expect(pushed.exitCode).toBe(0);
      expect(pushed.all).toContain("it finds the push when it next polls");
      return pushed.all;
    };
    receiver.status = 400;
    expect(await attempt("refused")).toContain("answered 400");
    receiver.status = undefined;
    expect(await attempt("hangs")).toContain("timeout");
    await receiver.stop();
    expect(await attempt("away")).toContain("ECONNREFUSED");
    await rm(join(server.env.GIT_SERVER_ETC, "config/webhook-url"));
    expect(await attempt("not configured")).toContain("ENOENT");
  });
});

const installed = existsSync(lighttpd);
if (!installed) console.warn(`No ${lighttpd} (LIGHTTPD names another): lighttpd is left to the e2e.`);

describe.skipIf(!installed)("behind lighttpd", () => {
  let receiver: Awaited<ReturnType<typeof startReceiver>>;
  let server: Awaited<ReturnType<typeof layOut>>;
  let serving: ChildProcess;
  let host = "";

  const serve = (port: number) => {
    const modules = join(dirname(lighttpd), "../lib/lighttpd");
    const env = {
      ...server.env,
      LISTEN_ADDRESS: "127.0.0.1",
      LISTEN_PORT: String(port),
      GIT_PROJECT_ROOT: dirname(server.repository),
    };
    const args = ["-m", modules, "-D", "-f", join(image, "lighttpd.conf")];
    // The log must be a file, because lighttpd opens /dev/stderr by name, which does not work with a socket.
    return spawn(lighttpd, args, { env, stdio: ["ignore", "ignore", openSync(log(), "a")] });
  };
  const log = () => join(dirname(server.clone), "log");
  const address = (user: string) => `http://${user}@${host}/platform.git`;
  const platform = () => address("platform:may-push");
  const argocd = () => address("argocd:may-read");
  /** Requests a path as a user and returns the status. */
  const status = async (path: string, user = "", init: RequestInit = {}) => {
    const headers = { ...(user && { Authorization: `Basic ${btoa(user)}` }), ...init.headers };
    return (await fetch(`http://${host}${path}`, { ...init, headers })).status;
  };

  beforeAll(async () => {
    receiver = await startReceiver();
    server = await layOut(receiver.url);
    await server.prepare();
    const probe = createServer();
    const port = await listen(probe);
    await new Promise((closed) => probe.close(closed));
    host = `127.0.0.1:${port}`;
    serving = serve(port);
    await vi.waitFor(async () => expect(await status("/healthz")).toBe(200), { timeout: 10_000 });
  });

  afterAll(async () => {
    const stopped = once(serving, "exit");
    serving.kill("SIGINT");
    const [exitCode] = await stopped;
    const logged = await readFile(log(), "utf8");
    await receiver.stop();
    await server.remove();
    expect(exitCode).toBe(0);
    expect(logged).toContain("graceful shutdown started");
    expect(logged).toContain(' platform "POST /platform.git/git-receive-pack HTTP/1.1" 200 ');
    expect(logged).not.toContain('"GET /healthz HTTP/1.1" 200');
  });

  it("lets platform push, shows what the hook says, and lets both read", async () => {
    const pushed = await server.git("push", platform(), "main");
    expect(pushed).toMatchObject({
      exitCode: 0,
      all: expect.stringContaining("remote: Argo CD was notified."),
    });
    const main = (await server.git("rev-parse", "main")).stdout;
    for (const url of [platform(), argocd()]) {
      expect((await server.git("ls-remote", url, "main")).stdout).toBe(`${main}\trefs/heads/main`);
    }
    expect(await server.git("clone", argocd(), "copy")).toMatchObject({ exitCode: 0 });
  });

  it("refuses pushes of argocd", async () => {
    const pushed = await server.git("push", argocd(), "main:refs/heads/other");
    expect(pushed).toMatchObject({ exitCode: 128, all: expect.stringContaining("Authentication failed") });
    const reader = "argocd:may-read";
    const request = { method: "POST", body: "0000" };
    const type = { headers: { "Content-Type": "application/x-git-receive-pack-request" } };
    for (const path of ["git-receive-pack", "git-receive%2dpack", "git-receive-pack/git-upload-pack"]) {
      expect(await status(`/platform.git/${path}`, reader, { ...request, ...type })).toBe(401);
    }
    const service = "service=git-receive-pack";
    for (const query of [service, "service=git%2dreceive-pack", `service=git-upload-pack&${service}`]) {
      expect(await status(`/platform.git/info/refs?${query}`, reader)).toBe(401);
    }
  });

  it("refuses whoever is not known", async () => {
    for (const user of ["", "platform:wrong", "platform:", "somebody:may-push"]) {
      expect(await status("/platform.git/info/refs?service=git-upload-pack", user)).toBe(401);
    }
    expect(await status("/healthz/../platform.git/HEAD")).toBe(401);
  });

  it("takes a large push, which Git sends in chunks", async () => {
    const noise = crypto.getRandomValues(new Uint8Array(49_152)).toString();
    await server.commit({ large: Array.from({ length: 60 }, (_, i) => `${i}${noise}`).join("\n") });
    const options = ["-c", "core.compression=0", "-c", "http.postBuffer=65536"];
    expect(await server.git(...options, "push", platform(), "main")).toMatchObject({ exitCode: 0 });
  });

  it("takes a compressed request, as Git sends with many references", async () => {
    const main = (await server.git("rev-parse", "main")).stdout;
    await server.git("push", platform(), "main");
    const line = (text: string) => `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;
    const response = await fetch(`http://${host}/platform.git/git-upload-pack`, {
      method: "POST",
      headers: {
        Authorization: `Basic ${btoa("argocd:may-read")}`,
        "Content-Type": "application/x-git-upload-pack-request",
        "Content-Encoding": "gzip",
      },
      body: gzipSync(`${line(`want ${main}\n`)}0000${line("done\n")}`),
    });
    expect(Buffer.from(await response.arrayBuffer()).toString("latin1")).toMatch(/^0008NAK\nPACK/);
  });

  it("refuses to rewrite the branch", async () => {
    await server.commit({ changed: "behind lighttpd" });
    await server.git("push", platform(), "main");
    const rewritten = await server.git("push", "--force", platform(), "main~1:main");
    expect(rewritten).toMatchObject({ exitCode: 1, all: expect.stringContaining("non-fast-forward") });
  });
});
