import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Application, ApplicationSource } from "../../lib/cluster/applications.ts";
import { examine } from "../../lib/cluster/doctor.ts";
import { status } from "../../lib/cluster/status.ts";
import { waitForCommit } from "../../lib/cluster/wait.ts";
import { sameRepository } from "../../lib/git/repository-url.ts";
import { Shop } from "./shop.ts";

// A cluster that the platform shares: kubectl is a program that gives the objects of a file and writes down what it is asked.
const commit = "a".repeat(40);
const other = "b".repeat(40);
const repoURL = "https://git.example/team/platform.git";
const branch: ApplicationSource = { repoURL, targetRevision: "main" };

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "shared-"));
  mkdirSync(join(directory, "bin"));
  const script = `#!/bin/sh
echo "$*" >> "${directory}/calls"
case "$*" in
  *annotate*) ;;
  *" crd "*|"get crd "*) echo '{"metadata":{"name":"applications.argoproj.io"}}' ;;
  *"applications.argoproj.io root "*) cat "${directory}/root" ;;
  *"applications.argoproj.io "*) cat "${directory}/applications" ;;
  *" pods "*|*"pods -A"*) cat "${directory}/pods" ;;
  *readyz*) echo ok ;;
  *version*) echo '{"serverVersion":{"gitVersion":"v1.36.0"}}' ;;
  *) echo '{"items":[],"metadata":{"name":"x"}}' ;;
esac
`;
  writeFileSync(join(directory, "bin/kubectl"), script);
  chmodSync(join(directory, "bin/kubectl"), 0o755);
  vi.stubEnv("PATH", `${directory}/bin:${process.env.PATH}`);
  vi.stubEnv("KUBECONFIG", "/some/file");
  vi.stubEnv("KUBE_CONTEXT", undefined);
  pods([]);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

const pods = (items: object[]): void => writeFileSync(join(directory, "pods"), JSON.stringify({ items }));
const calls = (): string => readFileSync(join(directory, "calls"), "utf8");

interface Wanted {
  revisions?: string[];
  state?: Partial<Application["status"]>;
  children?: string[];
  namespace?: string;
}

/** An Application that is Synced and Healthy at one revision per source. */
function application(name: string, sources: ApplicationSource[], wanted: Wanted = {}): Application {
  const { revisions = [commit], state = {}, children = [], namespace = name } = wanted;
  const several = sources.length > 1;
  return {
    metadata: { name },
    spec: {
      destination: { namespace },
      ...(several ? { sources } : { source: sources[0] as ApplicationSource }),
    },
    status: {
      sync: { status: "Synced", ...(several ? { revisions } : { revision: revisions[0] as string }) },
      health: { status: "Healthy" },
      resources: children.map((child) => ({ group: "argoproj.io", kind: "Application", name: child })),
      ...state,
    },
  };
}

const root = (children: string[] = [], source = branch, revision = commit): Application =>
  application("root", [source], { children, revisions: [revision], namespace: "argocd" });

function cluster(...applications: Application[]): void {
  writeFileSync(join(directory, "applications"), JSON.stringify({ items: applications }));
  writeFileSync(join(directory, "root"), JSON.stringify(applications[0]));
}

const chart: ApplicationSource = {
  repoURL: "https://charts.example",
  chart: "cert-manager",
  targetRevision: "v1.18.2",
};
const theirs: [string, ApplicationSource[], string[]][] = [
  ["of a chart", [chart], ["v1.18.2"]],
  [
    "of a chart in a registry",
    [{ repoURL: "ghcr.io/team/charts", chart: "shop", targetRevision: "1.2.3" }],
    ["1.2.3"],
  ],
  [
    "of an OCI artefact",
    [{ repoURL: "oci://ghcr.io/team/platform", targetRevision: "1.0.0" }],
    [`sha256:${other}`],
  ],
  [
    "of another repository",
    [{ repoURL: "https://git.example/team/shop.git", targetRevision: "main" }],
    [other],
  ],
  ["of another host", [{ repoURL: "https://git.other/team/platform.git", targetRevision: "main" }], [other]],
  [
    "of another port",
    [{ repoURL: "https://git.example:8443/team/platform.git", targetRevision: "main" }],
    [other],
  ],
  ["of the platform's repository, held at a tag", [{ repoURL, targetRevision: "v2" }], [other]],
  ["of the platform's repository, on another branch", [{ repoURL, targetRevision: "experiment" }], [other]],
  [
    "of several sources, none of them the platform's",
    [chart, { repoURL: "git@git.example:team/values.git", targetRevision: "main" }],
    ["v1.18.2", other],
  ],
];

describe("wait, beside other people's Applications", () => {
  it.each(theirs)("is content with its own beside one %s", async (_, sources, revisions) => {
    cluster(root(["app"]), application("app", [branch]), application("shop", sources, { revisions }));
    await waitForCommit(commit, 0);
  });

  it.each(theirs)(
    "compares no commit of one %s that the platform's root makes",
    async (_, sources, revisions) => {
      cluster(root(["shop"]), application("shop", sources, { revisions }));
      await waitForCommit(commit, 0);
      // It is the platform's for all that, and is to be well.
      const state = { health: { status: "Degraded" } };
      cluster(root(["shop"]), application("shop", sources, { revisions, state }));
      await expect(waitForCommit(commit, 0)).rejects.toThrow("Application shop is Degraded");
    },
  );

  it.each([
    ["Degraded", { health: { status: "Degraded" } }],
    ["not synced by anybody", { sync: { status: "OutOfSync", revision: "v1.18.2" } }],
    ["not compared yet", { sync: {} }],
    ["broken", { conditions: [{ type: "ComparisonError", message: "no such chart" }] }],
  ])("does not wait for one that is %s", async (_, state) => {
    cluster(root(), application("shop", [chart], { revisions: ["v1.18.2"], state }));
    await waitForCommit(commit, 0);
  });

  it("waits for one of the platform's repository that nobody's root makes", async () => {
    cluster(root(), application("shop", [branch], { revisions: [other] }));
    await expect(waitForCommit(commit, 0)).rejects.toMatchObject({
      message: expect.stringContaining("Application shop is at bbbbbbbbbbbb, not at aaaaaaaaaaaa"),
      next: "kubectl --kubeconfig /some/file -n argocd describe application shop",
    });
  });

  it("waits for what its Applications make", async () => {
    const state = { sync: { status: "OutOfSync", revision: "v1.18.2" } };
    cluster(
      root(["apps"]),
      application("apps", [branch], { children: ["shop"] }),
      application("shop", [chart], { state }),
    );
    await expect(waitForCommit(commit, 0)).rejects.toThrow("Application shop is OutOfSync");
  });

  it.each([
    ["chart first", [chart, branch], ["88.5.3", commit], ["88.5.3", other]],
    ["chart last", [branch, chart], [commit, "88.5.3"], [other, "88.5.3"]],
    [
      "a version of the chart that looks like a commit",
      [{ ...chart, targetRevision: commit }, branch],
      [commit, commit],
      [commit, other],
    ],
    [
      "two paths of the repository",
      [branch, { ...branch, repoURL: "git@git.example:team/platform" }, chart],
      [commit, commit, "88.5.3"],
      [commit, other, "88.5.3"],
    ],
  ])("looks at the platform's sources of several: %s", async (_, sources, there, behind) => {
    cluster(root(["stack"]), application("stack", sources, { revisions: there }));
    await waitForCommit(commit, 0);
    cluster(root(["stack"]), application("stack", sources, { revisions: behind }));
    await expect(waitForCommit(commit, 0)).rejects.toThrow("Application stack is at");
  });

  it.each([
    "https://git.example/team/platform",
    "https://git.example/team/platform/",
    "https://GIT.example/Team/Platform.git",
    "https://git.example:443/team/platform.git",
    "https://me@git.example/team/platform.git",
    "git@git.example:team/platform.git",
    "git.example:team/platform.git",
    "ssh://git@git.example:2222/team/platform.git",
  ])("knows its repository as %s", async (spelling) => {
    const source = { repoURL: spelling, targetRevision: "refs/heads/main" };
    cluster(root(["app"]), application("app", [source], { revisions: [other] }));
    await expect(waitForCommit(commit, 0)).rejects.toThrow("Application app is at bbbbbbbbbbbb");
    cluster(root(["app"]), application("app", [source]));
    await waitForCommit(commit, 0);
  });

  it("is content with a later commit, which this checkout may lack, and with no other one", async () => {
    const shop = await Shop.open();
    try {
      const { git, directory: own } = await shop.clone("mine");
      const mine = (await git.resolve("HEAD")) ?? "";
      const unrelated = await git.run("commit-tree", "HEAD^{tree}", "-m", "it has no parent");
      const later = await shop.move();
      const at = async (revision: string): Promise<void> => {
        cluster(root(["app"], branch, revision), application("app", [branch], { revisions: [revision] }));
        await waitForCommit(mine, 0, own);
      };
      const refs = await git.run("for-each-ref");
      expect(await git.try("cat-file", "-e", later)).toBeUndefined();
      await at(later);
      await expect(at(unrelated)).rejects.toThrow(`Application root is at ${unrelated.slice(0, 12)}, not at`);
      // Nobody has this one.
      await expect(at(other)).rejects.toThrow("Application root is at bbbbbbbbbbbb, not at");
      await at(mine);
      expect(await git.run("for-each-ref")).toBe(refs);
    } finally {
      shop.close();
    }
  });

  it("asks Argo CD to compare the platform's again, and nobody else's", async () => {
    cluster(
      root(["app"]),
      application("app", [branch], { revisions: [other] }),
      application("shop", [chart], { revisions: ["v1.18.2"] }),
    );
    vi.useFakeTimers({ toFake: ["Date"] });
    const waiting = waitForCommit(commit, 60).catch((error: Error) => error);
    try {
      await vi.waitFor(
        () => {
          vi.setSystemTime(Date.now() + 6000);
          expect(calls()).toContain("annotate");
        },
        { timeout: 20_000 },
      );
    } finally {
      cluster(root());
      await waiting;
      vi.useRealTimers();
    }
    expect(calls()).toMatch(/annotate applications\.argoproj\.io app --overwrite/);
  });
});

describe("status, beside other people's Applications", () => {
  const failing = (namespace: string): object => ({
    metadata: { name: "p", namespace },
    status: {
      phase: "Running",
      containerStatuses: [{ name: "c", ready: false, state: { waiting: { reason: "CrashLoopBackOff" } } }],
    },
  });

  it("shows theirs and their pods, and is well where the platform is", async () => {
    const degraded = { health: { status: "Degraded" } };
    cluster(root(["app"]), application("app", [branch]), application("shop", [chart], { state: degraded }));
    pods([failing("shop")]);
    const { lines, well } = await status();
    expect(well).toBe(true);
    expect(lines).toContain(
      "application  shop                     Application shop is Degraded (not the platform's)",
    );
    expect(lines).toContain("pod          Pod shop/p, container c: CrashLoopBackOff (not the platform's)");
  });

  it.each(["app", "kube-system", "somewhere"])("is not well where a pod in %s is not", async (namespace) => {
    cluster(
      root(["app"]),
      application("app", [branch]),
      application("shop", [chart], { namespace: "kube-system" }),
    );
    pods([failing(namespace)]);
    expect(await status()).toMatchObject({ well: false });
  });

  it("names the commit of several sources, and the version of a chart", async () => {
    cluster(
      root(["stack", "shop"]),
      application("stack", [chart, branch], { revisions: ["88.5.3", commit] }),
      application("shop", [chart], { revisions: ["v1.18.2"] }),
    );
    const { lines, well } = await status();
    expect(well).toBe(true);
    expect(lines).toContain("application  stack                    Synced Healthy aaaaaaaaaaaa");
    expect(lines).toContain("application  shop                     Synced Healthy v1.18.2");
  });
});

describe("doctor, beside other people's Applications", () => {
  /** A checkout whose remote `origin`, under the address that Argo CD has, is at a commit. */
  async function checkoutOf(name: string): Promise<{ checkout: string; head: string }> {
    const [bare, checkout] = [join(directory, "remote.git"), join(directory, "checkout")];
    const git = async (...args: string[]): Promise<string> =>
      (await execa("git", ["-C", checkout, "-c", "user.name=A", "-c", "user.email=a@b.c", ...args])).stdout;
    await execa("git", ["init", "--quiet", "--bare", bare]);
    await execa("git", ["init", "--quiet", "-b", name, checkout]);
    await git("commit", "--quiet", "--allow-empty", "-m", "one");
    await git("remote", "add", "mirror", join(directory, "nowhere.git"));
    await git("remote", "add", "fork", "git@git.example:team/platform.git");
    await git("config", `url.${bare}.insteadOf`, "git@git.example:team/platform.git");
    await git("push", "--quiet", "fork", `HEAD:${name}`);
    return { checkout, head: await git("rev-parse", "HEAD") };
  }

  it("finds the platform well, on the branch that Argo CD follows", async () => {
    const { checkout, head } = await checkoutOf("trunk");
    const source = { repoURL, targetRevision: "trunk" };
    const bad = { health: { status: "Degraded" } };
    cluster(
      root(["stack"], source, head),
      application("stack", [chart, source], { revisions: ["88.5.3", head] }),
      application("shop", [chart], { revisions: ["v1.18.2"], state: bad }),
    );
    const diagnoses = await examine(checkout);
    expect(diagnoses.filter(({ remedy }) => remedy)).toEqual([]);
    const findings = Object.fromEntries(diagnoses.map(({ what, finding }) => [what, finding]));
    expect(findings).toMatchObject({
      "unpushed commits": "none",
      "what Argo CD runs": `the platform's trunk, ${head.slice(0, 12)}`,
      applications: "2 Synced and Healthy; 1 more are not the platform's",
    });
  });

  it("advises with the remote and the branch that Argo CD reads", async () => {
    const { checkout } = await checkoutOf("trunk");
    await execa("git", [
      "-C",
      checkout,
      "-c",
      "user.name=A",
      "-c",
      "user.email=a@b.c",
      "commit",
      "--allow-empty",
      "-m",
      "2",
    ]);
    cluster(root([], { repoURL, targetRevision: "trunk" }, other));
    const remedies = Object.fromEntries((await examine(checkout)).map(({ what, remedy }) => [what, remedy]));
    expect(remedies).toMatchObject({
      "unpushed commits": "git push fork HEAD:trunk",
      "what Argo CD runs": "KUBECONFIG=/some/file npm run wait -- fork/trunk",
    });
  });
});

describe("two URLs", () => {
  it.each([
    ["http://git.git.svc/p.git", "http://git.git.svc.cluster.local./p"],
    ["https://git.example/a%20b", "https://git.example/a b.git"],
    ["ssh://git@git.example:22/a/b", "git@git.example:/a/b.git"],
    ["git+ssh://git.example/a/b", "https://git.example//a//b"],
    ["/srv/git/p.git", "/srv/git/p.git"],
  ])("%s and %s mean one repository", (one, another) => {
    expect(sameRepository(one, another)).toBe(true);
    expect(sameRepository(another, one)).toBe(true);
  });

  it.each([
    ["https://git.example/a/b", "https://git.example/a/c"],
    ["https://git.example/a/b", "https://git.example/a/b/c"],
    ["https://git.example/a/b", "oci://git.example/a/b"],
    ["https://git.example:8443/a/b", "https://git.example/a/b"],
    ["ssh://git@git.example:2222/a/b", "ssh://git@git.example/a/b"],
    ["/srv/git/p.git", "/srv/git/q.git"],
    ["", "https://git.example/a"],
  ])("%s and %s do not", (one, another) => {
    expect(sameRepository(one, another)).toBe(false);
  });
});
