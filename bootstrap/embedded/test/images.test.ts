import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { setModes } from "../../../lib/modes.ts";
import { modules } from "../../../lib/modules.ts";
import { contentOf, type Image, images } from "../src/images.ts";
import { mirroredRegistries, pinnedVersions, repository } from "../src/layout.ts";

const folder = ({ context }: Image): string =>
  join(repository, context.startsWith("services/") ? "" : "bootstrap/embedded/images", context);
const dockerfile = (image: Image): string => readFileSync(join(folder(image), "Dockerfile"), "utf8");

/** The base images of a Dockerfile's stages, with versions filled in, but without its own stages. */
function bases(text: string): string[] {
  const stages = [...text.matchAll(/^FROM (\S+)(?: AS (\S+))?$/gim)];
  const own = stages.map(([, , name]) => name);
  return stages
    .map(([, base = ""]) => base)
    .filter((base) => !own.includes(base))
    .map((base) =>
      base.replaceAll(/\$\{(\w+)\}/g, (_, name) => pinnedVersions()[name.toLowerCase()] ?? `no ${name}`),
    );
}

/** Names of the binaries that a module's build makes. */
function binaryNames(name: string): string[] {
  const module = modules.find((candidate) => candidate.name === name);
  if (module?.main) return [name];
  const goMod = readFileSync(join(repository, "bootstrap/embedded/modules", name, "go.mod"), "utf8");
  const block = /^tool \(([^)]*)\)|^tool (\S+)$/m.exec(goMod);
  const tools = (block?.[1] ?? block?.[2] ?? "").trim().split(/\s+/);
  return tools
    .map(
      (tool) =>
        tool
          .replace(/\/v\d+$/, "")
          .split("/")
          .pop() ?? "",
    )
    .map((binary) => module?.rename?.[binary] ?? binary);
}

it("has every image once, bases before what builds on them", () => {
  const names = images.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { name, from = [] } of images)
    for (const base of from) {
      expect(names).toContain(base);
      expect(names.indexOf(base)).toBeLessThan(names.indexOf(name));
    }
});

describe.each(images)("the image $name", (image) => {
  it("is named as upstream, in a registry that the mirror stands in for", () => {
    expect(mirroredRegistries).toContain(image.name.split("/")[0]);
  });

  it("has a Dockerfile", () => {
    expect(existsSync(join(folder(image), "Dockerfile"))).toBe(true);
  });

  it("builds on nothing that has to be downloaded, and says on what", async () => {
    const references = new Map<string, string>();
    for (const name of image.from ?? []) {
      const base = images.find((candidate) => candidate.name === name);
      references.set(`${name}:${await base?.tag()}`, name);
    }
    const used = bases(dockerfile(image)).filter((base) => base !== "scratch");
    expect(bases(dockerfile(image))).not.toEqual([]);
    expect([...new Set(used)]).toEqual([...references.keys()]);
  });

  it("has a tag that says which, never latest", async () => {
    const tag = await image.tag();
    expect(tag).toMatch(/^[\w][\w.-]{0,127}$/);
    expect(tag).not.toMatch(/latest|undefined/);
    expect(dockerfile(image)).not.toContain(":latest");
  });

  it("copies binaries of its own modules only", () => {
    const copied = dockerfile(image)
      .split("\n")
      .filter((line) => line.startsWith("COPY "))
      .flatMap((line) => line.split(" "))
      .filter((word) => word.startsWith("bin/"))
      .map((word) => word.slice("bin/".length));
    const built = (image.modules ?? []).flatMap(binaryNames);
    expect(built).toEqual(expect.arrayContaining(copied));
    expect(copied.length > 0).toBe(built.length > 0);
  });

  it("names the pins that its build reads", () => {
    for (const pin of image.pins ?? []) expect(Object.keys(pinnedVersions())).toContain(pin);
    for (const [, name = ""] of dockerfile(image).matchAll(/^ARG (\w+)/gm))
      expect(Object.keys(pinnedVersions())).toContain(name.toLowerCase());
  });
});

it("the collector's tag says which version it is and which code of ours is in it, as nodes keep an image by its tag", async () => {
  const directory = join(import.meta.dirname, "../modules/opentelemetry-collector");
  const own = ["main.go", "open_regular.go.in"].concat(
    readdirSync(join(directory, "lineencoding"))
      .filter((name) => !name.endsWith("_test.go"))
      .sort()
      .map((name) => join("lineencoding", name)),
  );
  const hash = createHash("sha256");
  for (const file of own) hash.update(`${file}\0`).update(readFileSync(join(directory, file)));
  const version = /otelcol v(\S+)/.exec(readFileSync(join(directory, "go.mod"), "utf8"))?.[1];
  const collector = images.find(({ context }) => context === "opentelemetry-collector-contrib");
  expect(await collector?.tag(), "newTag in gitops/clusters/embedded/log-agent/kustomization.yaml").toBe(
    `${version}-${hash.digest("hex").slice(0, 8)}`,
  );
});

describe("a directory that an image is made of", () => {
  /** A directory with the modes of a checkout under a umask. */
  function checkedOut(umask: number): string {
    const directory = mkdtempSync(join(tmpdir(), "image-"));
    mkdirSync(join(directory, "src"));
    for (const [name, mode] of [
      ["Dockerfile", 0o666],
      ["apt-keeps-nothing", 0o666],
      ["src/run", 0o777],
    ] as const) {
      writeFileSync(join(directory, name), name);
      chmodSync(join(directory, name), mode & ~umask);
    }
    for (const name of ["src", "."]) chmodSync(join(directory, name), 0o777 & ~umask);
    return directory;
  }
  const modes = (directory: string): string[] =>
    [".", "src", "src/run", "Dockerfile"].map((name) =>
      (statSync(join(directory, name)).mode & 0o777).toString(8),
    );

  it.each([0o022, 0o002, 0o077, 0o027])("is readable for everybody inside, with the umask %o", (umask) => {
    const directory = checkedOut(umask);
    symlinkSync("/nowhere", join(directory, "src/link"));
    try {
      setModes(directory);
      expect(modes(directory)).toEqual(["755", "755", "755", "644"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each([0o002, 0o077, 0o027])("is the same content with the umask %o as with another", (umask) => {
    const [one, other] = [checkedOut(0o022), checkedOut(umask)];
    try {
      expect(contentOf(other)).toBe(contentOf(one));
      chmodSync(join(other, "src/run"), 0o600);
      expect(contentOf(other)).not.toBe(contentOf(one));
    } finally {
      for (const directory of [one, other]) rmSync(directory, { recursive: true });
    }
  });
});
