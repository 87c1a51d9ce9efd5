import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { goEnvironment } from "../../../lib/modules.ts";
import { slow } from "../../../lib/test/long.ts";
import { markUsed, removeUnpackedArchives, removeUnusedBuilds } from "../src/build-cache.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "build-cache-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function file(path: string, text = ""): string {
  const target = join(directory, path);
  mkdirSync(join(target, ".."), { recursive: true });
  writeFileSync(target, text);
  return target;
}

describe("an archive of a module", () => {
  it("goes when it is unpacked, whatever its path has, and its size is told", () => {
    const archives = [
      file("cache/download/github.com/!azure/a/v2/@v/v2.0.0-rc.1.zip", "four"),
      file("cache/download/gopkg.in/b.v2/@v/v2.4.0+incompatible.zip", "three"),
    ];
    const sum = file("cache/download/gopkg.in/b.v2/@v/v2.4.0+incompatible.ziphash");
    file("github.com/!azure/a/v2@v2.0.0-rc.1/a.go");
    file("gopkg.in/b.v2@v2.4.0+incompatible/b.go");
    expect(removeUnpackedArchives(directory)).toBe(9);
    expect(archives.filter(existsSync)).toEqual([]);
    expect(existsSync(sum)).toBe(true);
    expect(removeUnpackedArchives(directory)).toBe(0);
  });

  it("stays while Go has yet to unpack it, while it unpacks it, and where it is no archive of Go's", () => {
    const kept = [
      file("cache/download/m/@v/v1.0.0.zip"),
      file("cache/download/m/@v/v1.1.0.zip"),
      file("m@v1.1.0/testdata/cache/download/m/@v/v1.1.0.zip"),
      file("cache/download/m/v1.1.0.zip"),
    ];
    file("cache/download/m/@v/v1.1.0.partial");
    expect(removeUnpackedArchives(directory)).toBe(0);
    expect(kept.filter(existsSync)).toEqual(kept);
  });

  it("is missed by nobody where there is no cache yet", () => {
    expect(removeUnpackedArchives(join(directory, "none"))).toBe(0);
  });

  it("is not needed by Go, which builds and finds the module without it and without a proxy", {
    ...slow,
    timeout: 300_000,
  }, async () => {
    const proxy = join(directory, "proxy");
    const versions = "proxy/example.com/m/@v";
    file("source/go.mod", "module example.com/m\n");
    file("source/m.go", 'package m\n\nconst Text = "m"\n');
    file(`${versions}/v1.0.0.mod`, "module example.com/m\n");
    file(`${versions}/v1.0.0.info`, '{"Version":"v1.0.0"}');
    const source = { cwd: join(directory, "source") };
    await execa("git", ["init", "--quiet"], source);
    await execa("git", ["add", "--all"], source);
    const { stdout: tree } = await execa("git", ["write-tree"], source);
    const archive = join(directory, versions, "v1.0.0.zip");
    const options = ["--format=zip", "--prefix=example.com/m@v1.0.0/", `--output=${archive}`];
    await execa("git", ["archive", ...options, tree], source);
    file("user/go.mod", "module example.com/user\n\nrequire example.com/m v1.0.0\n");
    file("user/main.go", 'package main\n\nimport "example.com/m"\n\nfunc main() { println(m.Text) }\n');

    const modules = join(directory, "go-mod");
    const go = (goProxy: string, ...args: string[]) =>
      execa("go", args, {
        cwd: join(directory, "user"),
        env: {
          ...goEnvironment(),
          GOMODCACHE: modules,
          GOPROXY: goProxy,
          GOSUMDB: "off",
          GOTOOLCHAIN: "local",
        },
      });
    await go(`file://${proxy}`, "build", "-mod=mod", "-o", join(directory, "before"), ".");
    expect(removeUnpackedArchives(modules)).toBeGreaterThan(0);
    expect(existsSync(join(modules, "cache/download/example.com/m/@v/v1.0.0.zip"))).toBe(false);
    // With other flags, the package is compiled again.
    await go("off", "build", "-gcflags=example.com/m=-N", "-o", join(directory, "after"), ".");
    const { stdout } = await go("off", "list", "-m", "-f", "{{.Dir}}", "example.com/m");
    expect(stdout).toBe(join(modules, "example.com/m@v1.0.0"));
    expect((await execa(join(directory, "after"))).stderr).toBe("m");
  });
});

describe("a build", () => {
  const days = (count: number): number => Date.now() / 1000 - count * 86_400;

  it("goes when nobody used it for 30 days, and only where it is of that module", () => {
    const build = (name: string, age: number): string => {
      const target = join(directory, name);
      mkdirSync(target);
      writeFileSync(join(target, "tool"), "");
      utimesSync(target, days(age), days(age));
      return target;
    };
    const old = build("istio-0123456789abcdef", 31);
    const kept = [
      build("istio-fedcba9876543210", 29),
      build("istio-cni-0123456789abcdef", 31),
      build("etcd-0123456789abcdef", 31),
      build("istio-0123456789abcdef.partial", 31),
    ];
    removeUnusedBuilds(directory, "istio");
    expect(existsSync(old)).toBe(false);
    expect(kept.filter(existsSync)).toEqual(kept);
  });

  it("stays for another 30 days where it is used", () => {
    const build = join(directory, "istio-0123456789abcdef");
    mkdirSync(build);
    utimesSync(build, days(31), days(31));
    markUsed(build);
    removeUnusedBuilds(directory, "istio");
    expect(existsSync(build)).toBe(true);
  });
});
