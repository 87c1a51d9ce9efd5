/** Registries behind a proxy: tinyproxy, a process of its own, writes down what goes through it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { until } from "../../lib/failure.ts";
import { lookUp } from "../../lib/images/registry.ts";
import { installed } from "../../lib/test/debian.ts";
import { freePort } from "../../lib/test/free-port.ts";
import { RealRegistry, user } from "./registry.ts";

const program = "/usr/bin/tinyproxy";
const directory = mkdtempSync(join(tmpdir(), "proxy-"));
const log = join(directory, "log");
let registry: RealRegistry;
let proxy: { kill: () => unknown } | undefined;
let address = "";
let port = "";

beforeAll(async () => {
  installed("tinyproxy");
  registry = await RealRegistry.open("basic");
  await registry.put("team/a", "1");
  port = registry.host.split(":")[1] ?? "";
  const own = await freePort();
  address = `http://127.0.0.1:${own}`;
  writeFileSync(log, "");
  const settings = {
    Port: own,
    Listen: "127.0.0.1",
    LogFile: `"${log}"`,
    LogLevel: "Connect",
    MaxClients: 9,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} ${value}\n`);
  writeFileSync(join(directory, "settings"), lines.join(""));
  proxy = execa(program, ["-d", "-c", join(directory, "settings")], { reject: false, stdio: "ignore" });
  await until("the proxy", 60, async () => void (await fetch(address)));
}, 600_000);
afterAll(async () => {
  proxy?.kill();
  await registry?.close();
  rmSync(directory, { recursive: true });
});

beforeEach(() => {
  for (const name of ["http_proxy", "https_proxy", "all_proxy", "no_proxy"])
    for (const spelled of [name, name.toUpperCase()]) vi.stubEnv(spelled, undefined);
  const auth = Buffer.from(`${user.name}:${user.password}`).toString("base64");
  const auths = Object.fromEntries([`0.0.0.0:${port}`, registry.host].map((host) => [host, { auth }]));
  writeFileSync(join(directory, "auth.json"), JSON.stringify({ auths }));
  vi.stubEnv("REGISTRY_AUTH_FILE", join(directory, "auth.json"));
  writeFileSync(log, "");
});
afterEach(() => vi.unstubAllEnvs());

// This machine by an address that, unlike 127.0.0.1, no program takes for one that needs no proxy.
const remote = (): string => `0.0.0.0:${port}`;
const seen = (): string => readFileSync(log, "utf8");

test.each(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])(
  "a registry is asked through that of %s, with its login",
  async (name) => {
    vi.stubEnv(name, address);
    expect(await lookUp(`${remote()}/team/a:1`, { insecure: true })).toMatchObject({ state: "there" });
    expect(await lookUp(`${remote()}/team/a:2`, { insecure: true })).toEqual({ state: "absent" });
    expect(seen()).toContain(`HEAD http://${remote()}/v2/team/a/manifests/1`);
  },
);

test.each(["HTTPS_PROXY", "https_proxy"])(
  "a registry with TLS gets a tunnel from that of %s",
  async (name) => {
    vi.stubEnv(name, address);
    // The tunnel is given; what is at its end speaks no TLS.
    expect(await lookUp(`${remote()}/team/a:1`, { insecure: false })).toMatchObject({ state: "unsaid" });
    expect(seen()).toContain(`CONNECT ${remote()}`);
  },
);

test("a proxy that does not answer is told of, and says nothing of the image", async () => {
  vi.stubEnv("HTTP_PROXY", "http://127.0.0.1:9");
  expect(await lookUp(`${remote()}/team/a:1`, { insecure: true })).toMatchObject({ state: "unsaid" });
});

test.each([
  { HTTP_PROXY: true, NO_PROXY: "0.0.0.0" },
  { http_proxy: true, no_proxy: "localhost, 0.0.0.0" },
  { HTTPS_PROXY: true },
])("a registry is asked without it by %j", async (settings) => {
  for (const [name, value] of Object.entries(settings))
    vi.stubEnv(name, value === true ? address : `${value}`);
  expect(await lookUp(`${remote()}/team/a:1`, { insecure: true })).toMatchObject({ state: "there" });
  expect(seen()).not.toContain(port);
});

test("a registry on this machine is asked without it, as builders push there", async () => {
  vi.stubEnv("HTTP_PROXY", address);
  expect(await lookUp(`${registry.host}/team/a:1`)).toMatchObject({ state: "there" });
  expect(seen()).not.toContain(port);
});
