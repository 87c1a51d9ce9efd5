import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cache } from "../../lib/render/cache.ts";
import { renderCluster } from "../../lib/render/cluster.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { amount, slow, sweep } from "../../lib/test/long.ts";
import { blastRadius, formatBlastRadius } from "../src/diff.ts";
import { formatFindings } from "../src/finding.ts";
import { validate } from "../src/validate.ts";
import { Sample } from "./corpus.ts";

const coldStart = 900_000;
const resources =
  "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [configmap.yaml]\n";
const configMap =
  "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: odd\n  namespace: shop\ndata:\n  key: a\n";
const jsonPatch = "- op: add\n  path: /data/more\n  value: before\n";

/** A way in which a kustomization comes to a file, in the directory gitops/apps/odd. */
interface Way {
  files: Record<string, string | Buffer>;
  links?: Record<string, string>;
  /** The file that is edited, and how. */
  edit: string;
  from?: string | Buffer;
  to?: string | Buffer;
}

const ways: Record<string, Way> = {
  "patchesJson6902 with a path": {
    files: {
      "kustomization.yaml": `${resources}patchesJson6902:\n  - target: {version: v1, kind: ConfigMap, name: odd}\n    path: more.yaml\n`,
      "more.yaml": jsonPatch,
    },
    edit: "more.yaml",
  },
  "a kustomization.yml": {
    files: {
      "kustomization.yml": "resources: [configmap.yaml]\nnamePrefix: before-\n",
    },
    edit: "kustomization.yml",
  },
  "a base with a kustomization.yml": {
    files: {
      "kustomization.yaml": "resources: [below]\n",
      "below/kustomization.yml": "resources: [configmap.yaml]\nnamePrefix: before-\n",
      "below/configmap.yaml": configMap,
    },
    edit: "below/kustomization.yml",
  },
  "a Kustomization": {
    files: { Kustomization: "resources: [configmap.yaml]\nnamePrefix: before-\n" },
    edit: "Kustomization",
  },
  "a PatchTransformer with a path": {
    files: {
      "kustomization.yaml": `${resources}transformers: [transformer.yaml]\n`,
      "transformer.yaml":
        "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: more}\npath: more.yaml\ntarget: {kind: ConfigMap}\n",
      "more.yaml": jsonPatch,
    },
    edit: "more.yaml",
  },
  "an inline PatchTransformer with a path": {
    files: {
      "kustomization.yaml": `${resources}transformers:\n  - |-\n    apiVersion: builtin\n    kind: PatchTransformer\n    metadata: {name: more}\n    path: more.yaml\n    target: {kind: ConfigMap}\n`,
      "more.yaml": jsonPatch,
    },
    edit: "more.yaml",
  },
  "a directory of transformers": {
    files: {
      "kustomization.yaml": `${resources}transformers: [transformers]\n`,
      "transformers/kustomization.yaml": "resources: [transformer.yaml]\n",
      "transformers/transformer.yaml":
        "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: more}\nprefix: before-\nfieldSpecs: [{path: metadata/name}]\n",
    },
    edit: "transformers/transformer.yaml",
  },
  "a generator's own file": {
    files: {
      "kustomization.yaml": `${resources}generators: [generator.yaml]\n`,
      "generator.yaml":
        "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: generated, namespace: shop}\nfiles: [more.txt]\n",
      "more.txt": "before\n",
    },
    edit: "more.txt",
  },
  "a component's patch": {
    files: {
      "kustomization.yaml": `${resources}components: [component]\n`,
      "component/kustomization.yaml":
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: more.yaml, target: {kind: ConfigMap}}]\n",
      "component/more.yaml": jsonPatch,
    },
    edit: "component/more.yaml",
  },
  "a replacement's file": {
    files: {
      "kustomization.yaml": `${resources}replacements: [{path: more.yaml}]\n`,
      "more.yaml":
        "- source: {kind: ConfigMap, name: odd, fieldPath: data.key}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.before], options: {create: true}}]\n",
    },
    edit: "more.yaml",
  },
  "a configuration of name references": {
    files: {
      "kustomization.yaml": `${resources}namePrefix: x-\nconfigurations: [more.yaml]\n`,
      "more.yaml": "namePrefix:\n  - {path: data/key, kind: ConfigMap}\n",
    },
    edit: "more.yaml",
    from: "data/key",
    to: "data/other",
  },
  "a file of settings that Git ignores": {
    files: {
      ".gitignore": "*.env\n",
      "kustomization.yaml": `${resources}configMapGenerator: [{name: generated, envs: [more.env]}]\n`,
      "more.env": "KEY=before\n",
    },
    edit: "more.env",
  },
  "a generator's file that is no text": {
    files: {
      "kustomization.yaml": `${resources}configMapGenerator: [{name: generated, files: [more.bin]}]\n`,
      "more.bin": Buffer.from([0xff, 0xfe, 0x80]),
    },
    edit: "more.bin",
    from: Buffer.from([0xff, 0xfe, 0x80]),
    to: Buffer.from([0xff, 0xfe, 0x81]),
  },
  "a link to a file": {
    files: {
      "kustomization.yaml": `${resources}patches: [{path: link.yaml, target: {kind: ConfigMap}}]\n`,
      "real/more.yaml": jsonPatch,
    },
    links: { "link.yaml": "real/more.yaml" },
    edit: "real/more.yaml",
  },
  "a link to a directory elsewhere": {
    files: {
      "kustomization.yaml": "resources: [linked]\n",
      "../elsewhere/kustomization.yaml": resources,
      "../elsewhere/configmap.yaml": configMap.replace("a\n", "before\n"),
    },
    links: { linked: "../elsewhere" },
    edit: "../elsewhere/configmap.yaml",
  },
  "a directory of plain manifests": {
    files: { "more.yaml": configMap.replace("a\n", "before\n") },
    edit: "more.yaml",
  },
  "a base beside it, by way of another": {
    files: {
      "kustomization.yaml": "resources: [../middle]\n",
      "../middle/kustomization.yaml": "resources: [../last]\n",
      "../last/kustomization.yaml": `${resources}patchesStrategicMerge: [more.yaml]\n`,
      "../last/configmap.yaml": configMap,
      "../last/more.yaml":
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd, namespace: shop}\ndata: {more: before}\n",
    },
    edit: "../last/more.yaml",
  },
};

const application = (source: string): string => `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: odd
  namespace: argocd
  labels: {app.kubernetes.io/name: odd, app.kubernetes.io/part-of: platform}
  finalizers: [resources-finalizer.argocd.argoproj.io]
spec:
  project: default
${source}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  syncPolicy: {automated: {prune: true, selfHeal: true}, retry: {refresh: true}, syncOptions: [CreateNamespace=true]}
`;

// One cluster with one Application, which renders gitops/apps/odd.
let directory: string;
let kept: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "odd-"));
  kept = mkdtempSync(join(tmpdir(), "cache-"));
  await execa("git", ["init", "--quiet"], { cwd: directory });
  put("../../../gitops.yaml", readFileSync(join(checkout, "gitops.yaml")));
  put("../../clusters/one/kustomization.yaml", "resources: [application.yaml]\n");
  put(
    "../../clusters/one/application.yaml",
    application(
      "  source: {repoURL: https://git.example/r.git, path: gitops/apps/odd, targetRevision: trunk}",
    ),
  );
});
afterEach(() => {
  for (const place of [directory, kept]) rmSync(place, { recursive: true, force: true });
});

const path = (file: string): string => join(directory, "gitops/apps/odd", file);
const put = (file: string, content: string | Buffer): void => {
  mkdirSync(dirname(path(file)), { recursive: true });
  writeFileSync(path(file), content);
};

async function report(root: string, cache: Cache, base = "HEAD"): Promise<string> {
  try {
    return formatBlastRadius({ ...(await blastRadius(root, base, cache)), base });
  } catch (error) {
    return `failed: ${(error as Error).message}`;
  }
}

describe("what was rendered before is not taken for what would be rendered now, by way of", () => {
  sweep(Object.entries(ways), 2)("%s", async (_, { files, links = {}, edit: edited, from, to }) => {
    const isPlain = !Object.keys(files).some((file) => /^kustomization|^Kustomization/.test(file));
    if (!isPlain) put("configmap.yaml", configMap);
    for (const [file, content] of Object.entries(files)) put(file, content);
    for (const [file, target] of Object.entries(links)) symlinkSync(target, path(file));
    const cache = new Cache(kept);
    const before = await renderedBy(cache);
    expect(before).toContain("ConfigMap");
    if (Buffer.isBuffer(to)) put(edited, to);
    else {
      const text = readFileSync(path(edited), "utf8");
      put(edited, text.replaceAll(String(from ?? "before"), to ?? "after"));
    }
    const anew = await renderedBy(new Cache(undefined));
    expect(anew).not.toBe(before);
    expect(await renderedBy(cache)).toBe(anew);
  });
});

/** Everything that the repository renders, or why it does not. */
async function renderedBy(cache: Cache): Promise<string> {
  const repository = await readRepository(directory);
  const applications = await renderCluster(directory, repository, "one", cache);
  return JSON.stringify(
    applications.map(({ name, error, manifests }) => ({
      name,
      error,
      objects: manifests.map((m) => m.object),
    })),
  );
}

test("a validation is not kept beyond a file that Git does not have", {
  ...slow,
  timeout: coldStart,
}, async () => {
  const cache = new Cache(kept);
  const findings = async (): Promise<string> =>
    formatFindings((await validate(directory, { cache })).findings);
  const labels = "  labels: {app.kubernetes.io/name: a, app.kubernetes.io/part-of: a}\n";
  put("configmap.yaml", configMap.replace("metadata:\n", `metadata:\n${labels}`));
  put("../../../.gitignore", "ignored.yaml\n");
  expect(await findings()).toBe("");
  // A plain directory is read whole, and this file is in no listing of Git's.
  put("ignored.yaml", configMap.replace("name: odd", "name: more"));
  expect(await findings()).toContain("gitops/apps/odd/ignored.yaml");
});

describe("HELM_CHARTS", () => {
  let bin: string;
  const archive = (): string => join(directory, "charts/stack-1.2.3.tgz");
  const sources = (helm: string): string => `  sources:
    - repoURL: https://charts.example
      chart: stack
      targetRevision: 1.2.3
${helm}    - {repoURL: https://git.example/r.git, targetRevision: trunk, ref: values}`;
  beforeEach(() => {
    bin = join(directory, ".git/bin");
    mkdirSync(bin);
    // Stands in for helm: it prints one object that holds what the files of values and the archive say.
    writeFileSync(
      join(bin, "helm"),
      `#!/bin/sh
text=$(cat "$3" | tr -d '\\n') || exit 1
while [ $# -gt 0 ]; do
  if [ "$1" = --values ] && [ "$2" != - ]; then
    text="$text $(cat "$2" | tr -d '\\n')" || exit 1
  fi
  shift
done
case $text in broken*) echo "Error: the chart is broken" >&2; exit 1;; esac
printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: odd, namespace: shop}\\ndata: {text: "%s"}\\nodd: 1\\n' "$text"
`,
    );
    chmodSync(join(bin, "helm"), 0o755);
    const values = "      helm: {valueFiles: [$values/gitops/apps/odd/values.yaml]}\n";
    put("../../clusters/one/application.yaml", application(sources(values)));
    put("values.yaml", "value\n");
    put("../../../charts/stack-1.2.3.tgz", "chart");
  });

  const gitops = async (cwd: string, place: string) =>
    execa("node", [await bundle(join(checkout, "tools/src/cli.ts")), "validate", directory], {
      cwd: join(directory, cwd),
      reject: false,
      env: { HELM_CHARTS: place, PATH: `${bin}:${process.env.PATH}`, INIT_CWD: join(directory, cwd) },
    });

  test.each([
    ["charts", "."],
    ["../charts", "gitops"],
    ["./gitops/../charts", "."],
  ])("may be a relative path, and what is found has a file: %s from %s", slow, async (place, from) => {
    const { stdout } = await gitops(from, place);
    expect(stdout).not.toContain("does not render");
    expect(stdout).not.toContain("not looked at");
    expect(stdout).toMatch(
      /^gitops\/clusters\/one\/application\.yaml:1:1: ConfigMap shop\/odd odd: unknown field/m,
    );
  });

  test("with a chart that is broken gives a finding with a file", async () => {
    writeFileSync(archive(), "broken");
    const { stdout, exitCode } = await gitops(".", "charts");
    expect(stdout).toContain(
      "gitops/clusters/one/application.yaml:12:7: Application odd does not render: Error: the chart is broken",
    );
    expect(exitCode).toBe(1);
  });

  test("renders anew when a file of values or the archive changes", async () => {
    const path = process.env.PATH;
    process.env.HELM_CHARTS = join(directory, "charts");
    process.env.PATH = `${bin}:${path}`;
    try {
      const cache = new Cache(kept);
      expect(await renderedBy(cache)).toContain("chart value");
      put("values.yaml", "other\n");
      expect(await renderedBy(cache)).toContain("chart other");
      writeFileSync(archive(), "newer");
      expect(await renderedBy(cache)).toContain("newer other");
    } finally {
      process.env.PATH = path;
      delete process.env.HELM_CHARTS;
    }
  });
});

// EDIT=all edits every tracked file of both repositories, which takes a quarter of an hour.
describe("any edit of a tracked file below gitops", slow, () => {
  const all = process.env.EDIT === "all";
  // An edit of the sample says what one of this repository does, which takes 40 times as long.
  const repositories = amount(1, 2);
  const copy = mkdtempSync(join(tmpdir(), "own-"));
  let sample: Sample | undefined;
  afterAll(() => {
    rmSync(copy, { recursive: true, force: true });
    sample?.remove();
  });

  const copies: [string, () => Promise<string>, number][] = [
    ["the sample", shopCopy, all ? Number.POSITIVE_INFINITY : 5],
    ["this repository", ownCopy, all ? Number.POSITIVE_INFINITY : 1],
  ];
  test.each(copies.slice(0, repositories))(
    "gives the same diff with the cache and without: %s",
    async (_, prepare, most) => {
      const root = await prepare();
      const random = numbers(17);
      const files = [...(await readRepository(root)).keys()].filter((file) => file.startsWith("gitops/"));
      const chosen = files.map((file) => ({ file, order: random() })).sort((a, b) => a.order - b.order);
      const cache = new Cache(kept);
      for (const { file } of chosen.slice(0, most)) {
        const text = readFileSync(join(root, file), "utf8");
        writeFileSync(join(root, file), mistyped(text, random));
        const anew = await report(root, new Cache(undefined));
        expect(`${file}\n${await report(root, cache)}`).toBe(`${file}\n${anew}`);
        writeFileSync(join(root, file), text);
      }
      expect(chosen.length).toBeGreaterThan(10);
    },
    all ? 3_600_000 : 300_000,
  );

  async function shopCopy(): Promise<string> {
    sample = await Sample.of("shop");
    return sample.directory;
  }

  async function ownCopy(): Promise<string> {
    for (const place of ["gitops", "bootstrap", "services", "tools/modules", "versions.yaml", "gitops.yaml"])
      cpSync(join(checkout, place), join(copy, place), {
        recursive: true,
        filter: (file) => !file.includes("node_modules"),
      });
    const git = (...args: string[]) => execa("git", args, { cwd: copy });
    await git("init", "--quiet");
    await git("add", "--all");
    await git(
      "-c",
      "user.name=test",
      "-c",
      "user.email=test@localhost",
      "-c",
      "commit.gpgSign=false",
      "commit",
      "--quiet",
      "--message",
      "all",
    );
    return copy;
  }
});

/** A text with one letter or digit replaced by another. */
function mistyped(text: string, random: () => number): string {
  const places = [...text.matchAll(/(?<=[:=] ?"?)[a-z0-9]/gi)].map(({ index }) => index);
  const place = places[Math.floor(random() * places.length)] ?? 0;
  const letter = text[place] === "7" ? "8" : "7";
  return text.slice(0, place) + letter + text.slice(place + 1);
}

/** Numbers from 0 to 1 that are the same in every run: mulberry32. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
