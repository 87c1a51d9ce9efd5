// @module-tag slow
/** What is stored in etcd and what can be read from it, with the real etcd and API server in their own network. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBuilt } from "../src/modules.ts";

const directory = mkdtempSync(join(tmpdir(), "at-rest-"));
const namespace = `e-${process.pid}`;
let found: Record<string, string> & { restored: string[] };

// `./deploy.sh` builds these programs, so a machine that only runs the tests does not have them.
describe.skipIf(!["etcd", "kubernetes", "kube-router"].every(isBuilt))("the control plane", () => {
  beforeAll(async () => {
    await execa("ip", ["netns", "add", namespace]);
    const script = join(import.meta.dirname, "private-control-plane.ts");
    const { stdout } = await execa(
      "ip",
      ["netns", "exec", namespace, process.execPath, "--import", "tsx", script],
      { env: { STATE_DIR: join(directory, "state"), DEPLOY_LOG: join(directory, "log") }, stderr: "inherit" },
    );
    found = JSON.parse(stdout) as typeof found;
    expect(found.error).toBeUndefined();
  }, 900_000);

  afterAll(async () => {
    // Programs that the script started are ended with its network, however the script ended.
    const { stdout } = await execa("ip", ["netns", "pids", namespace], { reject: false });
    for (const id of stdout.split("\n").filter(Boolean))
      await execa("kill", ["-KILL", id], { reject: false });
    if (existsSync(`/run/netns/${namespace}`)) await execa("ip", ["netns", "delete", namespace]);
    rmSync(directory, { recursive: true, force: true });
  });

  it("encrypts Secrets, those of an earlier version too, which it reads before and after", () => {
    // This is what an attacker finds if nothing is encrypted.
    expect(found.earlier).toContain("of an earlier version");
    expect(found.readable).toBe("of an earlier version");
    for (const value of [found.migrated, found.new]) {
      expect(value).toMatch(/^k8s:enc:secretbox:v1:key1:/);
      expect(value).not.toContain("version");
    }
    expect(found.stillReadable).toBe("of an earlier version");
  });

  it("gives no pod its node, where a namespace does not say so itself", () => {
    expect(found.unlabelled).toMatch(/violates PodSecurity "baseline/);
    expect(found.default).toMatch(/violates PodSecurity "restricted/);
    expect(found.labelled).toBe("");
  });

  it("gives what enforces policies no Secret and no change", () => {
    expect(found.routers).toMatch(/networkpolicies\S* .*\[get list watch\]/);
    expect(found.routers).not.toMatch(/secrets|configmaps|\b(create|update|patch|delete)\b.*(pods|nodes)/);
  });

  it("is followed by what enforces policies, with those rights alone: nobody reaches a pod that nobody may", () => {
    expect(found.rules).toMatch(/-A KUBE-ROUTER-FORWARD -d 10\.244\.1\.7\/32 .*-j KUBE-POD-FW-/);
    expect(found.rules).toMatch(/-A KUBE-POD-FW-\S+ .*-j REJECT/);
  });

  it("is what it was when etcd's data comes out of a backup", () => {
    expect(found.restored).toEqual(["of an earlier version", "of this version"]);
    expect(found.uidAfter).toBe(found.uidBefore);
  });

  it("says who wrote and who read a Secret, and nothing of what is in it", () => {
    const events =
      found.audit
        ?.trim()
        .split("\n")
        .map((line) => JSON.parse(line)) ?? [];
    const of = (verb: string, name: string): number =>
      events.filter((event) => event.verb === verb && event.objectRef?.name === name).length;
    expect(of("delete", "new")).toBe(2);
    expect(of("get", "old")).toBeGreaterThan(0);
    expect(found.audit).not.toMatch(/of an earlier version|of this version/);
    expect(found.audit).not.toContain('"resource":"leases"');
  });
});
