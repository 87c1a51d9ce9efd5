import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, it } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { bridge, endpoints, podCIDR, registryAddress, repository, serviceCIDR } from "../src/layout.ts";

const directory = mkdtempSync(join(tmpdir(), "env-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** The variables in a shell after it has evaluated the output of `env`. */
async function exported(environment: Record<string, string | undefined>): Promise<Record<string, string>> {
  const command = ["--import", "tsx", join(repository, "bootstrap/src/cli.ts"), "env"];
  const env = {
    STATE_DIR: directory,
    CACHE_DIR: directory,
    NO_PROXY: undefined,
    no_proxy: undefined,
    ...environment,
  };
  const { stdout } = await execa(process.execPath, command, { cwd: repository, env });
  const shell = await execa("sh", ["-c", `${stdout}\nenv --null`], { env });
  return Object.fromEntries(shell.stdout.split("\0").map((entry) => entry.split(/=(.*)/s).slice(0, 2)));
}

describe("env", () => {
  it("hands the exceptions from a proxy on to the shell, in both spellings", async () => {
    const given = { NO_PROXY: "intranet.example,10.250.0.0/24", no_proxy: "intranet.example,10.250.0.0/24" };
    expect(await exported(given)).toMatchObject(given);
  });

  it("makes none of its own", slow, async () => {
    const names = Object.keys(await exported({}));
    expect(names.filter((name) => /^no_proxy$/i.test(name))).toEqual([]);
    expect(names).toContain("KUBECONFIG");
  });
});

describe("what deploy.sh keeps from a proxy", () => {
  it("is every address that the cluster has on this machine", async () => {
    const { stdout } = await execa("sed", [
      "-n",
      's/^unproxied="\\(.*\\)"/\\1/p',
      join(repository, "deploy.sh"),
    ]);
    const listed = stdout.split(" ");
    for (const address of [
      bridge.address,
      bridge.cidr,
      podCIDR,
      serviceCIDR,
      "127.0.0.1",
      "localhost",
      ".svc",
    ])
      expect(listed).toContain(address);
    // The mirror is listed with its address, for programs that do not understand ranges.
    expect(listed).toContain(registryAddress.split(":")[0]);
    expect(endpoints(80).length).toBeGreaterThan(0);
  });
});
