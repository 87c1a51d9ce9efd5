/** Commands of the embedded cluster, one per stage of `deploy.sh`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { Command } from "commander";
import { formatDiagnoses } from "../../../lib/cluster/doctor.ts";
import { Failure, until } from "../../../lib/failure.ts";
import { log, tailCommand } from "../../../lib/process.ts";
import { note } from "../../../lib/progress.ts";
import { apply, applyAddon, applyArgocdSecrets, startGitServer, waitForWorkload } from "./addons.ts";
import { builderEnvironment, writeBuilderSettings } from "./builder.ts";
import { createCgroup, entrances } from "./cgroups.ts";
import { startCluster } from "./cluster.ts";
import { kubectlHint } from "./controlplane.ts";
import { destroy, remains } from "./destroy.ts";
import { ensureImages } from "./images.ts";
import { examineMachine, plan } from "./inspect.ts";
import { endpoints, state } from "./layout.ts";
import { buildModule, ensureBuilt, installBinaries, modules } from "./modules.ts";
import { installPackages } from "./packages.ts";
import { gitCredentialSettings, publish, unpublish } from "./publish.ts";
import { ensureRegistry } from "./registry.ts";

const settingsFile = (): string => state("settings.json");
const gitPath = "/platform.git";

interface Settings {
  httpPort: number;
}

function settings(): Settings {
  return existsSync(settingsFile())
    ? (JSON.parse(readFileSync(settingsFile(), "utf8")) as Settings)
    : { httpPort: 80 };
}

const url = (name: string): string => {
  const endpoint = endpoints(settings().httpPort).find((e) => e.name === name);
  if (!endpoint) throw new Failure(`no endpoint named ${name}`);
  const base = `http://127.0.0.1${endpoint.port === 80 ? "" : `:${endpoint.port}`}`;
  return name === "git" ? `${base}${gitPath}` : base;
};

/** Builds leave with the platform: they run in its cgroup. */
function joinBuildCgroup(): void {
  createCgroup("build");
  for (const file of entrances("build")) writeFileSync(file, String(process.pid));
}

const program = new Command("embedded").description("the embedded cluster").showHelpAfterError();

program.command("packages").description("install missing Debian packages").action(installPackages);

program
  .command("build")
  .description("compile the pinned tools that are not in the cache, in the order they are needed")
  .action(async () => {
    joinBuildCgroup();
    await ensureBuilt(modules.map((m) => m.name));
  });

program
  .command("build-one <module>")
  .description("compile one tool; the caller holds the build lock")
  .action(async (name: string) => {
    joinBuildCgroup();
    await buildModule(name);
  });

program
  .command("registry")
  .description("network and image mirror")
  .action(async () => {
    await ensureRegistry();
    writeBuilderSettings();
  });

program
  .command("images <name...>")
  .description("assemble and push images whose inputs changed")
  .action(async (names: string[]) => {
    await ensureRegistry();
    await ensureImages(names);
  });

program
  .command("up")
  .description("start control plane, nodes and load balancer")
  .option("--http-port <port>", "port of the platform on 127.0.0.1")
  .action(async (options: { httpPort?: string }) => {
    mkdirSync(state(), { recursive: true });
    const port = Number(options.httpPort ?? settings().httpPort);
    writeFileSync(settingsFile(), JSON.stringify({ httpPort: port }));
    await startCluster(port);
  });

program
  .command("addons")
  .description("cluster DNS and storage")
  .action(async () => {
    await ensureImages([
      "registry.k8s.io/pause",
      "registry.k8s.io/coredns/coredns",
      "docker.io/rancher/local-path-provisioner",
      "docker.io/library/busybox",
    ]);
    await applyAddon("coredns");
    await applyAddon("local-path-provisioner");
    await waitForWorkload("kube-system", "deployment", "coredns");
    await waitForWorkload("local-path-storage", "deployment", "local-path-provisioner");
  });

program.command("git-server").description("the Git server in the cluster").action(startGitServer);

program
  .command("publish")
  .description("push HEAD to the Git server and print the commit its main branch is at")
  .action(async () => {
    process.stdout.write(`${await publish(url("git"))}\n`);
  });

program
  .command("argocd-secrets <repository-url>")
  .description("the credentials that Argo CD reads the repository with")
  .action(applyArgocdSecrets);

program
  .command("apply")
  .description("apply the objects on standard input, server-side")
  .action(async () => apply(await text(process.stdin)));

program
  .command("wait-for <namespace> <workload...>")
  .description("wait until workloads, given as kind/name, are ready")
  .action(async (namespace: string, workloads: string[]) => {
    for (const [kind = "", name = ""] of workloads.map((w) => w.split("/")))
      await waitForWorkload(namespace, kind, name);
  });

program
  .command("install-binaries <module...>")
  .description("put compiled tools on the platform's PATH")
  .action(installBinaries);

program
  .command("env")
  .description("export lines for eval")
  .action(() => {
    const lines: Record<string, string> = {
      PATH: `${state("bin")}:$PATH`,
      KUBECONFIG: state("kubeconfig", "admin.yaml"),
    };
    for (const endpoint of endpoints(settings().httpPort)) lines[endpoint.variable] = url(endpoint.name);
    Object.assign(lines, builderEnvironment());
    // Of a shell with a proxy: deploy.sh has put the cluster's addresses there.
    for (const name of ["NO_PROXY", "no_proxy"])
      if (process.env[name] !== undefined) lines[name] = process.env[name];
    const git = Object.entries(gitCredentialSettings(url("git")));
    lines.GIT_CONFIG_COUNT = String(git.length);
    git.forEach(([name, value], index) => {
      lines[`GIT_CONFIG_KEY_${index}`] = name;
      lines[`GIT_CONFIG_VALUE_${index}`] = value;
    });
    for (const [name, value] of Object.entries(lines)) process.stdout.write(`export ${name}="${value}"\n`);
  });

program
  .command("destroy")
  .option("--purge", "remove the build cache too")
  .action(async (options: { purge?: boolean }) => {
    await unpublish(url("git"));
    await destroy(options.purge === true);
  });

program
  .command("remains")
  .description("what of the platform is still on the machine")
  .action(async () => {
    for (const line of await remains()) process.stdout.write(`${line}\n`);
  });

program
  .command("plan")
  .description("what bootstrap would do")
  .action(async () => {
    for (const line of await plan()) process.stdout.write(`${line}\n`);
  });

program
  .command("doctor")
  .description("check the machine and the components")
  .action(async () => {
    const diagnoses = await examineMachine(settings().httpPort);
    process.stdout.write(formatDiagnoses(diagnoses));
    if (diagnoses.some(({ remedy }) => remedy)) process.exitCode = 1;
  });

program
  .command("answers")
  .description("wait until the platform answers at its address")
  .action(async () => {
    const next = `${kubectlHint("-n", "logging", "get", "pods")}; ${tailCommand()}`;
    await until(
      `GET ${url("app")}/status`,
      60,
      async () => {
        const response = await fetch(`${url("app")}/status`, { signal: AbortSignal.timeout(3000) });
        return response.ok ? undefined : `answered ${response.status}`;
      },
      next,
    );
  });

program
  .command("summary")
  .description("where everything is")
  .action(() => {
    const rows = {
      platform: `curl ${url("app")}/`,
      tools: 'eval "$(./deploy.sh env)"',
      deploy: "git push platform HEAD:main",
      "Argo CD": `${url("argocd")}  user admin, password: kubectl -n argocd get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d`,
      status: "./deploy.sh status",
    };
    for (const [name, text] of Object.entries(rows)) process.stdout.write(`  ${name.padEnd(10)} ${text}\n`);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof Failure))
    log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  note(error instanceof Error ? error.message : String(error));
  note(`next: ${(error instanceof Failure && error.next) || tailCommand()}`);
  process.exitCode = 1;
}
