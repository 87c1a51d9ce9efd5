import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "ownership-"));
const [state, cache] = [join(directory, "state"), join(directory, "cache")];
vi.stubEnv("STATE_DIR", state);
vi.stubEnv("CACHE_DIR", cache);
const { ensureOwnDirectories, isOwn, requireOwn } = await import("../src/ownership.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const home = (): string => {
  const path = mkdtempSync(join(directory, "home-"));
  writeFileSync(join(path, "thesis.tex"), "years of work");
  mkdirSync(join(path, "log"));
  return path;
};

it("takes a directory that is not there, an empty one, and one that an earlier version made", () => {
  expect(isOwn(join(directory, "none"))).toBe(true);
  const earlier = join(directory, "earlier");
  mkdirSync(earlier);
  expect(isOwn(earlier)).toBe(true);
  for (const name of ["pki", "etcd", "nodes", "supervisor"]) mkdirSync(join(earlier, name));
  expect(isOwn(earlier)).toBe(true);
});

it("takes no directory with somebody's things, and names them", () => {
  expect(() => requireOwn(home(), "STATE_DIR")).toThrow(
    /STATE_DIR is \S+home-\S+, which holds other things: thesis.tex$/,
  );
});

it("marks its directories, and closes the state directory", () => {
  ensureOwnDirectories();
  expect((statSync(state).mode & 0o777).toString(8)).toBe("700");
  writeFileSync(join(state, "anything"), "");
  for (const path of [state, cache]) expect(isOwn(path)).toBe(true);
});

it.each([
  ["STATE_DIR", false],
  ["CACHE_DIR", true],
])("removes no %s that it did not make, and ends nothing before it looks", async (variable, purge) => {
  const path = home();
  vi.stubEnv(variable, path);
  vi.resetModules();
  // The first steps of destroy would affect a platform that runs here.
  vi.doMock("../src/cgroups.ts", () => ({
    killAll: () => Promise.reject(new Error("processes were ended")),
    platformProcesses: () => [],
    removeCgroups: () => Promise.reject(new Error("cgroups were removed")),
  }));
  const { destroy } = await import("../src/destroy.ts");
  await expect(destroy(purge)).rejects.toThrow(/holds other things: thesis\.tex/);
  expect(existsSync(join(path, "thesis.tex"))).toBe(true);
  vi.stubEnv(variable, variable === "STATE_DIR" ? state : cache);
});
