/** The platform's upkeep: its bundle is complete, it waits for deploy.sh, and it writes its metrics for Prometheus. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { slow } from "../../../lib/test/long.ts";

const directory = mkdtempSync(join(tmpdir(), "upkeep-"));
vi.stubEnv("STATE_DIR", join(directory, "state"));
vi.stubEnv("CACHE_DIR", join(directory, "cache"));
const { ensureCertificates, certificateRequests } = await import("../src/certificates.ts");
const { certificateEnds, metricsDirectory, metricsText, publishCertificateEnds } = await import(
  "../src/renewal.ts"
);
const { deployLock, upkeepProgram, upkeepScript } = await import("../src/upkeep-program.ts");
const { nodes, repository, state } = await import("../src/layout.ts");

afterAll(() => rmSync(directory, { recursive: true }));

describe("the program", () => {
  let command: string[] = [];
  beforeAll(async () => {
    const program = await upkeepProgram();
    command = program.command;
    for (const input of program.inputs) expect(input.startsWith(`${state()}/`)).toBe(true);
  }, 60_000);

  it("is one file and a Node of its own: it runs where there is neither checkout nor anything on the PATH", () => {
    const [node, bundle] = [state("upkeep", "node"), state("upkeep", "upkeep.mjs")];
    // There is no cluster in the state directory. Each task reports that, and the program ends.
    const run = spawn(node, [bundle], { cwd: "/", env: { STATE_DIR: state(), DEPLOY_LOG: "/dev/null" } });
    let said = "";
    run.stderr.on("data", (data: Buffer) => {
      said += data.toString();
    });
    return once(run, "exit").then(([code]) => {
      expect(said).not.toMatch(/ERR_MODULE|Cannot find|polyfill|SyntaxError/);
      expect([code, said]).toEqual([1, expect.stringMatching(/bin\/etcd.*\n.*KUBECONFIG is not set/)]);
      // A task that failed is done again the next time.
      expect(existsSync(state("upkeep", "done-0"))).toBe(false);
    });
  }, 60_000);

  it("takes the lock that deploy.sh takes", () => {
    const script = readFileSync(join(repository, "deploy.sh"), "utf8");
    expect(script).toContain(`\nlock=${deployLock}\n`);
    expect(command).toEqual(["sh", state("upkeep", "upkeep.sh")]);
    expect(readFileSync(state("upkeep", "upkeep.sh"), "utf8")).toBe(upkeepScript());
  });

  it("looks while nobody holds the lock, and not while somebody does", slow, async () => {
    const [lock, ran] = [join(directory, "lock"), join(directory, "ran")];
    const script = upkeepScript()
      .replaceAll(deployLock, lock)
      .replace(/^ {2}env .*$/m, `  echo once >>${ran} 9>&-`)
      .replace(/sleep \d+/, "sleep 0.2");
    expect(script).toContain(ran);
    const holder = spawn("flock", [lock, "sleep", "1.5"]);
    const loop = spawn("sh", ["-c", script], { stdio: "ignore" });
    try {
      await new Promise((done) => setTimeout(done, 1000));
      expect(existsSync(ran)).toBe(false);
      await once(holder, "exit");
      await expect.poll(() => existsSync(ran), { timeout: 10_000 }).toBe(true);
    } finally {
      loop.kill("SIGKILL");
    }
  });

  it("is for root alone", () => {
    expect(statSync(state("upkeep")).mode & 0o777).toBe(0o700);
  });
});

describe("what Prometheus is told", () => {
  it("is when each certificate ends, authorities among them, on every node, for any user to read", async () => {
    await ensureCertificates();
    for (const node of nodes) mkdirSync(metricsDirectory(node.name), { recursive: true });
    publishCertificateEnds();
    const names = ["ca", "etcd-ca", ...certificateRequests.map(({ name }) => name)].sort();
    expect(Object.keys(certificateEnds()).sort()).toEqual(names);
    for (const node of nodes) {
      const file = join(metricsDirectory(node.name), "platform.prom");
      expect(statSync(file).mode & 0o777).toBe(0o644);
      const told = [...readFileSync(file, "utf8").matchAll(/\{name="([^"]+)"\} (\d+)$/gm)];
      expect(told.map(([, name]) => name)).toEqual(names);
      for (const [, , seconds] of told) expect(Number(seconds)).toBeGreaterThan(Date.now() / 1000);
    }
  }, 60_000);

  it("is written as Prometheus reads it, under the name that the alert asks for", () => {
    const text = metricsText({ admin: new Date(5000) });
    expect(text).toMatch(/^# HELP (\w+) .*\n# TYPE \1 gauge\n\1\{name="admin"\} 5\n$/);
    const [, metric = ""] = /^# HELP (\w+)/.exec(text) ?? [];
    const rules = "gitops/platform/monitoring/stack/embedded/rules/prometheusrule-control-plane.yaml";
    expect(readFileSync(join(repository, rules), "utf8")).toContain(`min by (name) (${metric})`);
  });
});
