import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { until } from "../../../lib/failure.ts";
import { installed } from "../../../lib/test/debian.ts";
import { freePort } from "../../../lib/test/free-port.ts";

const directory = mkdtempSync(join(tmpdir(), "registry-"));
vi.stubEnv("STATE_DIR", join(directory, "state"));
vi.stubEnv("CACHE_DIR", join(directory, "cache"));
const { bridge, pushAddress, registryAddress } = await import("../src/layout.ts");
const { loginFile, mirrorDigest, registryPrograms } = await import("../src/registry.ts");
const { builderEnvironment } = await import("../src/builder.ts");

const programs = await registryPrograms();
const settingsOf = (name: string): { http: { addr: string } } & Record<string, unknown> => {
  const [file = ""] = programs.find((program) => program.name === name)?.inputs ?? [];
  return JSON.parse(readFileSync(file, "utf8"));
};
const running: ChildProcess[] = [];

afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(directory, { recursive: true });
});

it("listens on the bridge for pulls and on loopback for pushes, where only root may listen", () => {
  expect(programs.map(({ name }) => name)).toEqual(["registry", "registry-push"]);
  expect(settingsOf("registry").http.addr).toBe(registryAddress);
  expect(settingsOf("registry-push").http.addr).toBe(pushAddress);
  expect(registryAddress.startsWith(`${bridge.address}:`)).toBe(true);
  expect(pushAddress.startsWith("127.0.0.1:")).toBe(true);
  for (const address of [registryAddress, pushAddress])
    expect(Number(address.split(":")[1])).toBeLessThan(1024);
});

it("is the build cache's, in both programs", () => {
  for (const { name } of programs)
    expect(settingsOf(name).storage).toMatchObject({
      filesystem: { rootdirectory: join(directory, "cache/registry") },
    });
});

it("takes no setting from the environment, where a shell's REGISTRY_AUTH_FILE would be one", () => {
  for (const { command } of programs) expect(command.slice(0, 2)).toEqual(["env", "--ignore-environment"]);
});

it("keeps password and login where only root reads, and changes neither in another run", async () => {
  const files = ["credentials.json", "registry-users", "registry-login.json"].map((name) =>
    join(directory, "state/secrets", name),
  );
  const before = files.map((file) => readFileSync(file, "utf8"));
  for (const file of files) expect((statSync(file).mode & 0o777).toString(8)).toBe("600");
  expect((statSync(join(directory, "state/secrets")).mode & 0o777).toString(8)).toBe("700");
  await registryPrograms();
  expect(files.map((file) => readFileSync(file, "utf8"))).toEqual(before);
  expect(builderEnvironment().REGISTRY_AUTH_FILE).toBe(loginFile());
});

it("gives a platform of an earlier version the password that it lacks, and keeps its others", async () => {
  const file = join(directory, "state/secrets/credentials.json");
  const before = readFileSync(file, "utf8");
  writeFileSync(file, JSON.stringify({ platform: "a", argocd: "b", webhook: "c" }));
  const { credentials } = await import("../src/credentials.ts");
  const now = credentials();
  expect(now).toMatchObject({ platform: "a", argocd: "b", webhook: "c" });
  expect(now.registry).toMatch(/^[0-9a-f]{48}$/);
  expect(credentials()).toEqual(now);
  writeFileSync(file, before);
});

describe("docker-registry under these settings", () => {
  const manifest = JSON.stringify({ schemaVersion: 2, made: "by a test" });
  const digest = `sha256:${createHash("sha256").update(manifest).digest("hex")}`;
  let pull: string;
  let push: string;

  beforeAll(async () => {
    installed("docker-registry");
    const start = async (name: string): Promise<string> => {
      const addr = `127.0.0.1:${await freePort()}`;
      const file = join(directory, `${name}.json`);
      writeFileSync(file, JSON.stringify({ ...settingsOf(name), http: { addr } }));
      const [command = "", ...args] = programs.find((program) => program.name === name)?.command ?? [];
      running.push(spawn(command, [...args.slice(0, -1), file], { stdio: "ignore" }));
      await until(name, 30, async () => ((await fetch(`http://${addr}/v2/`)) ? undefined : "silent"));
      return `http://${addr}/v2`;
    };
    pull = await start("registry");
    push = await start("registry-push");
  });

  const login = (): { authorization: string } => {
    const { auths } = JSON.parse(readFileSync(loginFile(), "utf8"));
    return { authorization: `Basic ${auths[pushAddress].auth}` };
  };

  async function put(at: string, headers: Record<string, string>): Promise<number> {
    const begun = await fetch(`${at}/docker.io/e2e/doors/blobs/uploads/`, { method: "POST", headers });
    if (begun.status !== 202) return begun.status;
    const url = new URL(begun.headers.get("location") ?? "", at);
    url.searchParams.set("digest", digest);
    return (await fetch(url, { method: "PUT", headers, body: manifest })).status;
  }

  const blob = `docker.io/e2e/doors/blobs/${digest}`;

  it("takes a push with the password, which the other hands out to everybody", async () => {
    expect(await put(push, login())).toBe(201);
    expect(await (await fetch(`${pull}/${blob}`)).text()).toBe(manifest);
  });

  it.each([
    ["the mirror", () => pull, () => ({}), 405],
    ["the mirror with the password", () => pull, login, 405],
    ["the other without a password", () => push, () => ({}), 401],
    [
      "the other with a wrong password",
      () => push,
      () => ({ authorization: `Basic ${btoa("platform:no")}` }),
      401,
    ],
  ] as [string, () => string, () => Record<string, string>, number][])(
    "refuses pushes and deletions at %s",
    async (_, at, headers, status) => {
      expect(await put(at(), headers())).toBe(status);
      const [manifests, method] = [`${at()}/docker.io/e2e/doors/manifests/latest`, "PUT"];
      expect((await fetch(manifests, { method, headers: headers(), body: manifest })).status).toBe(status);
      expect((await fetch(`${at()}/${blob}`, { method: "DELETE", headers: headers() })).status).toBe(status);
      expect((await fetch(`${pull}/${blob}`)).status).toBe(200);
    },
  );

  it("hands nothing out on loopback without the password", async () => {
    expect((await fetch(`${push}/${blob}`)).status).toBe(401);
    expect((await fetch(`${push}/${blob}`, { headers: login() })).status).toBe(200);
  });

  it("says which digest an image has, and of one that it lacks or has lost a part of that it has none", async () => {
    const at = new URL(pull).host;
    await put(push, login());
    const part = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: manifest.length };
    const type = "application/vnd.oci.image.manifest.v1+json";
    const image = JSON.stringify({ schemaVersion: 2, mediaType: type, config: part, layers: [] });
    const headers = { ...login(), "content-type": type };
    const url = `${push}/docker.io/e2e/doors/manifests/1`;
    expect(await mirrorDigest("docker.io/e2e/doors:1", at)).toBeUndefined();
    expect((await fetch(url, { method: "PUT", headers, body: image })).status).toBe(201);
    const made = createHash("sha256").update(image).digest("hex");
    expect(await mirrorDigest("docker.io/e2e/doors:1", at)).toBe(`sha256:${made}`);
    expect(await mirrorDigest("docker.io/e2e/doors:2", at)).toBeUndefined();
    const store = join(directory, "cache/registry/docker/registry/v2/blobs/sha256");
    writeFileSync(join(store, made.slice(0, 2), made, "data"), "");
    expect(await mirrorDigest("docker.io/e2e/doors:1", at)).toBeUndefined();
    expect(await mirrorDigest("docker.io/e2e/doors:1", "127.0.0.1:9")).toBeUndefined();
  });
});
