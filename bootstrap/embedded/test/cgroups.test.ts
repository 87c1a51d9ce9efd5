import { readFileSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, expect, it, vi } from "vitest";

afterEach(() => {
  vi.doUnmock("../src/machine.ts");
  vi.resetModules();
});

it("has an entrance in every cgroup hierarchy of the machine", async () => {
  const { entrances } = await import("../src/cgroups.ts");
  const mounted = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => /^\/sys\/fs\/cgroup(\/[^/]+)?$/.test(path));
  const files = entrances("system");
  for (const file of files) expect(file).toMatch(/\/logging-platform\/system\/cgroup\.procs$/);
  const hierarchies = files.map((file) => realpathSync(dirname(dirname(dirname(file)))));
  expect([...new Set(hierarchies)].sort()).toEqual([...new Set(mounted)].sort());
});

it("has one entrance under cgroup v2", async () => {
  vi.doMock("../src/machine.ts", () => ({
    inspectMachine: () => ({ cgroups: "v2", canLowerOomScore: true }),
  }));
  const { entrances } = await import("../src/cgroups.ts");
  expect(entrances("node1")).toEqual(["/sys/fs/cgroup/logging-platform/node1/cgroup.procs"]);
});
