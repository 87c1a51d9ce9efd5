import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { sweep } from "../../../lib/test/long.ts";

const source = join(import.meta.dirname, "../modules");
const pages = "bootstrap/embedded/images/argocd/ui";
const copy = mkdtempSync(join(tmpdir(), "modules-"));
const directory = join(copy, "bootstrap/embedded/modules");
vi.stubEnv("CACHE_DIR", join(copy, "cache"));
vi.doMock("../src/layout.ts", async (original) => ({ ...(await original<object>()), repository: copy }));
const { binaries, isBuilt, moduleKey, moduleVersion, patchText } = await import("../src/modules.ts");
const { versionsToSet } = await import("../src/equal-versions.ts");
const { goEnvironment, moduleNamed, modules, requirementsIn } = await import("../../../lib/modules.ts");

beforeEach(() => {
  rmSync(directory, { recursive: true, force: true });
  cpSync(source, directory, { recursive: true });
  rmSync(join(copy, pages), { recursive: true, force: true });
  cpSync(join(import.meta.dirname, "../images/argocd/ui"), join(copy, pages), { recursive: true });
});
afterAll(() => rmSync(copy, { recursive: true }));

describe.each(modules)("the module $name", ({ name, path, main, rename = {} }) => {
  const goMod = readFileSync(join(source, name, "go.mod"), "utf8");

  it("is pinned: go.mod, and the sums of what it requires", () => {
    expect(goMod).toContain(`module logging-platform/${name}\n`);
    expect(existsSync(join(source, name, "go.sum"))).toBe(/^require/m.test(goMod));
  });

  it.runIf(path)("has its version from go.mod", () => {
    const version = moduleVersion(name);
    expect(version).toMatch(/^v\d+\.\d+\.\d+/);
    const required = goMod.split("\n").filter((line) => !/replace|=>/.test(line));
    expect(required.some((line) => line.includes(`${path} ${version}`))).toBe(true);
    expect(readFileSync(join(source, name, "go.sum"), "utf8")).toContain(`${path} ${version} h1:`);
  });

  it("builds its own main package or the tools of go.mod", () => {
    expect(existsSync(join(source, name, "main.go"))).toBe(main === true);
    expect(/^tool /m.test(goMod)).toBe(main !== true);
    const built = [...goMod.matchAll(/^(?:tool )?\s*(\S+\/\S+)$/gm)].map(([, tool = ""]) => tool);
    const binaryNames = built.map((tool) =>
      tool
        .replace(/\/v\d+$/, "")
        .split("/")
        .pop(),
    );
    expect(binaryNames).toEqual(expect.arrayContaining(Object.keys(rename)));
  });
});

it("has no directory that no module of the list names", () => {
  expect(readdirSync(source).sort()).toEqual(modules.map(({ name }) => name).sort());
});

it("is ordered so that the cluster can start while the rest compiles", () => {
  const order = modules.map(({ name }) => name);
  expect(new Set(order).size).toBe(order.length);
  for (const early of ["pause", "etcd", "kubernetes", "coredns"])
    expect(order.indexOf(early)).toBeLessThan(order.indexOf("argocd"));
  expect(order.indexOf("kubernetes")).toBeLessThan(order.indexOf("coredns"));
  // What it shares with Argo CD is compiled by then.
  expect(order.indexOf("argocd")).toBeLessThan(order.indexOf("kube-state-metrics"));
});

describe("a version", () => {
  it("follows go.mod, in a block, alone on its line and beside a replacement", () => {
    const file = join(directory, "etcd", "go.mod");
    const path = "go.etcd.io/etcd/server/v3";
    writeFileSync(file, `require (\n\t${path}/other v3.0.1\n\t${path} v3.0.2 // indirect\n)\n`);
    expect(moduleVersion("etcd")).toBe("v3.0.2");
    writeFileSync(file, `replace ${path} v3.0.1 => ../etcd\n\nrequire ${path} v3.0.3\n`);
    expect(moduleVersion("etcd")).toBe("v3.0.3");
  });

  it("that is missing is a failure which names the file", () => {
    writeFileSync(join(directory, "etcd", "go.mod"), "module logging-platform/etcd\n");
    expect(() => moduleVersion("etcd")).toThrow(/modules\/etcd\/go\.mod/);
    expect(() => moduleVersion("pause")).toThrow(/modules\/pause\/go\.mod/);
    expect(() => moduleVersion("unknown")).toThrow("no module named unknown");
  });

  it("is stamped into Kubernetes, which else takes itself for v0.0.0-master", () => {
    const stamp = moduleNamed("kubernetes").ldflags?.("v9.8.7") ?? "";
    for (const path of ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"])
      expect(stamp).toContain(`-X ${path}.gitVersion=v9.8.7`);
    expect(moduleNamed("argocd").ldflags?.("v9.8.7")).toMatch(/\.version=9\.8\.7$/);
  });
});

describe("a module's key", () => {
  it("stays where nothing changes, and is nobody else's", () => {
    const keys = modules.map(({ name }) => moduleKey(name));
    expect(modules.map(({ name }) => moduleKey(name))).toEqual(keys);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{16}$/);
  });

  it.each([
    ["coredns", "go.mod"],
    ["coredns", "go.sum"],
    ["coredns", "main.go"],
    ["opentelemetry-collector", "lineencoding/line.go"],
  ])("of %s changes with its %s", (name, file) => {
    const before = moduleKey(name);
    const others = moduleKey("etcd");
    appendFileSync(join(directory, name, file), "\n");
    expect(moduleKey(name)).not.toBe(before);
    expect(moduleKey("etcd")).toBe(others);
  });

  it.each([
    "package-lock.json",
    "webpack.config.cjs",
    "argo-ui/src/components/tabs/tabs.tsx",
    "argo-ui/v2/styles/colors.scss",
  ])("of argocd changes with %s of its pages, and with a new file of theirs", (file) => {
    const before = [moduleKey("argocd"), moduleKey("etcd")];
    appendFileSync(join(copy, pages, file), "\n");
    const changed = moduleKey("argocd");
    writeFileSync(join(copy, pages, "argo-ui/new.ts"), "");
    expect(new Set([before[0], changed, moduleKey("argocd")]).size).toBe(3);
    expect(moduleKey("etcd")).toBe(before[1]);
  });

  it("of argocd stays where somebody installed the packages of its pages", () => {
    const before = moduleKey("argocd");
    mkdirSync(join(copy, pages, "node_modules/react"), { recursive: true });
    writeFileSync(join(copy, pages, "node_modules/react/index.js"), "");
    expect(moduleKey("argocd")).toBe(before);
  });

  it("changes with a new file, and when content moves to another file", () => {
    const before = moduleKey("pause");
    writeFileSync(join(directory, "pause", "other.go"), "");
    const added = moduleKey("pause");
    cpSync(join(directory, "pause", "other.go"), join(directory, "pause", "another.go"));
    rmSync(join(directory, "pause", "other.go"));
    expect(new Set([before, added, moduleKey("pause")]).size).toBe(3);
  });

  it("stays where only a test changes", () => {
    const before = moduleKey("opentelemetry-collector");
    appendFileSync(join(directory, "opentelemetry-collector/lineencoding/encoding_test.go"), "\n");
    expect(moduleKey("opentelemetry-collector")).toBe(before);
  });

  it("changes with the linker's flags", () => {
    const kustomize = moduleNamed("kustomize");
    const { ldflags = () => "" } = kustomize;
    const before = moduleKey("kustomize");
    kustomize.ldflags = () => "-X main.other=1";
    const changed = moduleKey("kustomize");
    kustomize.ldflags = ldflags;
    expect(changed).not.toBe(before);
    expect(moduleKey("kustomize")).toBe(before);
  });

  it("names the directory of its binaries: another content is not built yet", () => {
    expect(isBuilt("pause")).toBe(false);
    cpSync(join(directory, "pause"), binaries("pause"), { recursive: true });
    expect(binaries("pause")).toBe(join(copy, "cache/bin", `pause-${moduleKey("pause")}`));
    expect(isBuilt("pause")).toBe(true);
    appendFileSync(join(directory, "pause", "main.go"), "\n");
    expect(isBuilt("pause")).toBe(false);
  });
});

describe("Go's commands", () => {
  const settings: [string, string][] = [
    ["GOFLAGS", "-mod=vendor"],
    ["GO111MODULE", "off"],
    ["GOARCH", "s390x"],
    ["GOOS", "plan9"],
    ["GOBIN", "/nonexistent/bin"],
    ["GOROOT", "/nonexistent/go"],
    ["GOEXPERIMENT", "nosuchexperiment"],
    ["GOWORK", "/nonexistent/go.work"],
    ["GOTOOLCHAIN", "local"],
  ];
  sweep(settings, 1)("are those of this machine where the shell's %s is %s", async (name, value) => {
    const ask = ["list", "-f", "{{.Name}} {{.Module.Path}} {{context.GOOS}}/{{context.GOARCH}}", "."];
    const options = { cwd: join(directory, "pause"), reject: false } as const;
    const asked = (env: Record<string, string>) =>
      execa("go", ask, { ...options, env: { ...env, ...goEnvironment() } });
    const [plain, other] = await Promise.all([asked({}), asked({ [name]: value })]);
    expect(plain).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("main logging-platform/pause "),
    });
    expect(other.stdout).toBe(plain.stdout);
    expect(goEnvironment()).toHaveProperty(name);
  });
});

describe("a patch of a required module", () => {
  const patch = {
    module: "m",
    file: "f.go",
    before: "os.Open(path)",
    after: "openRegular(path)",
    adds: "a.go.in",
  };

  it("replaces its expression where that stands once", () => {
    expect(patchText("a\nreturn os.Open(path) // why\nb\n", patch)).toBe(
      "a\nreturn openRegular(path) // why\nb\n",
    );
  });

  it.each([
    ["gone", "return os.OpenFile(path, 0, 0)\n", "0 times"],
    ["there twice", "os.Open(path)\nos.Open(path)\n", "2 times"],
  ])("fails where it is %s, as it may be in another version", (_, text, message) => {
    expect(() => patchText(text, patch)).toThrow(message);
  });

  it("is part of what a build is known by, and its file is there", () => {
    for (const { name, patch } of modules) {
      if (!patch) continue;
      const directory = join(source, name);
      expect(existsSync(join(directory, patch.adds))).toBe(true);
      const before = moduleKey(name);
      const module = moduleNamed(name);
      module.patch = { ...patch, after: `${patch.after} /* another */` };
      expect(moduleKey(name)).not.toBe(before);
      module.patch = patch;
      expect(moduleKey(name)).toBe(before);
    }
    expect(modules.some(({ patch }) => patch)).toBe(true);
  });
});

describe.each(["kubernetes", "argocd"])("the modules of group %s", (group) => {
  const members = modules.filter((module) => module.group === group);
  const goMod = (name: string): string => readFileSync(join(source, name, "go.mod"), "utf8");

  // A package is compiled again if any of its dependencies has another version.
  it("require the same versions: npm run modules", () => {
    const group = new Map(members.map(({ name, apart }) => [name, requirementsIn(goMod(name), apart)]));
    expect(Object.fromEntries(versionsToSet(group))).toEqual({});
    expect([...group.values()].every(({ required }) => required.size > 20)).toBe(true);
  });

  it("are compiled by the same Go", () => {
    const versions = members.map(({ name }) => /^go (\S+)$/m.exec(goMod(name))?.[1]);
    expect(versions).toEqual(versions.map(() => versions[0]));
  });
});

describe("versions of a group", () => {
  const goMod = (...lines: string[]) => requirementsIn(`module m\n\ngo 1.26.0\n\n${lines.join("\n")}\n`);
  const changes = (group: Record<string, ReturnType<typeof requirementsIn>>) =>
    Object.fromEntries(
      [...versionsToSet(new Map(Object.entries(group)))].map(([name, set]) => [
        name,
        Object.fromEntries(set),
      ]),
    );

  it("become the highest that one of its modules requires, as Go orders them", () => {
    const block = (...lines: string[]) =>
      goMod("require (", ...lines.map((line) => `\t${line} // indirect`), ")");
    expect(
      changes({
        one: block("a v1.9.0", "b v0.0.0-20250102030405-abcdefabcdef", "c v1.0.0", "d v2.0.0+incompatible"),
        two: block(
          "a v1.10.0",
          "b v0.0.0-20260102030405-012345678901",
          "c v1.0.1-0.20260101000000-abcdefabcdef",
        ),
        three: goMod("require d v2.1.0+incompatible"),
      }),
    ).toEqual({
      one: {
        a: "v1.10.0",
        b: "v0.0.0-20260102030405-012345678901",
        c: "v1.0.1-0.20260101000000-abcdefabcdef",
        d: "v2.1.0+incompatible",
      },
    });
  });

  it("are not asked of what a module requires apart from its group", () => {
    const text = "require (\n\ta v0.7.5\n\tb v1.0.0\n)\n";
    expect(requirementsIn(text, ["a"]).required).toEqual(new Map([["b", "v1.0.0"]]));
  });

  it("follow a module that replaces its own, and stop where that is too low", () => {
    const kubernetes = goMod(
      "require (",
      "\ta v0.0.0",
      ")",
      "",
      "replace (",
      "\ta => a v0.36.3",
      "\tb => ../b",
      ")",
    );
    expect(changes({ kubernetes, other: goMod("require a v0.35.4") })).toEqual({ other: { a: "v0.36.3" } });
    expect(() => changes({ kubernetes, other: goMod("require a v0.37.0") })).toThrow(
      "kubernetes replaces a by v0.36.3, and another module of its group requires v0.37.0",
    );
    expect(goMod("replace a => a v1.0.0").replaced).toEqual(new Map([["a", "v1.0.0"]]));
  });
});
