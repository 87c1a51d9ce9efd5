/** The command line of a cluster at hand, one command per stage of `deploy.sh`. */
import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Command } from "commander";
import { examine, formatDiagnoses } from "../../../lib/cluster/doctor.ts";
import { Failure } from "../../../lib/failure.ts";
import { log, tailCommand } from "../../../lib/process.ts";
import { note } from "../../../lib/progress.ts";
import { checkout } from "../../../lib/repository.ts";
import { find } from "./cluster.ts";
import { destroy, remains } from "./destroy.ts";
import { destroyKind, ensureKind, pushImages } from "./kind.ts";
import { plan } from "./plan.ts";
import { preflight } from "./preflight.ts";
import { awaitAnswer, deployApplications, installArgocd, installIstio, summary } from "./stages.ts";
import { type Options, originURL, resolveTarget, type Target } from "./target.ts";

type Action = (target: Target) => Promise<unknown>;

/**
 * Runs one command.
 * @param args without the program's name
 * @returns the exit code
 */
export async function main(args: string[]): Promise<number> {
  const program = new Command("upstream").description("a cluster at hand").showHelpAfterError();
  let code = 0;
  for (const [name, { description, action }] of Object.entries(stages)) {
    addStage(program, name, description, async (target) => {
      const result = await action(target);
      code = typeof result === "number" ? result : 0;
    });
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    if (!(error instanceof Failure))
      log(error instanceof Error ? (error.stack ?? error.message) : String(error));
    const { stderr, message } = error as Error & { stderr?: string };
    note((stderr || message).trim());
    note(`next: ${(error instanceof Failure && error.next) || tailCommand()}`);
    return 1;
  }
}

function addStage(program: Command, name: string, description: string, action: Action): void {
  program
    .command(name)
    .description(description)
    .requiredOption("--context <name>", "a context of the kubeconfig")
    .option("--cluster <name>", "a directory of gitops/clusters", "upstream")
    .option("--repo <url>", "the repository that Argo CD reads (default: the remote origin)")
    .option("--revision <ref>", "what it follows there (default: the branch in Git)")
    .option("--registry <host/path>", "where images of services/* are pulled from (default: as in Git)")
    .option("--repo-credentials <file>", "an SSH key, or lines username= and password=")
    .option("--keep-istio", "Istio is there and is left alone")
    .option("--ha", "an Argo CD that outlives a node")
    .option("--kind", "the cluster is one of kind that is created")
    .action(async (options: Options) => {
      process.env.KUBE_CONTEXT = options.context;
      // What removes things reads no repository.
      const readsNone = /^(destroy|remains)/.test(name);
      const origin = options.repo || readsNone ? "none" : await originURL();
      await action(resolveTarget(options, origin));
    });
}

const print = (lines: string[]): void => {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
};

const stages: Record<string, { description: string; action: Action }> = {
  kind: { description: "create a kind cluster and a registry", action: ensureKind },
  images: { description: "build the images of services and push them", action: pushImages },
  check: {
    description: "stop where something is wrong with the cluster",
    action: async (target) => {
      const diagnoses = await preflight(target);
      log(formatDiagnoses(diagnoses));
      const wrong = diagnoses.filter(({ remedy }) => remedy);
      process.stderr.write(formatDiagnoses(wrong));
      return wrong.length > 0 ? 1 : 0;
    },
  },
  doctor: {
    description: "check the cluster, and the platform where it is there",
    action: async (target) => {
      const diagnoses = await preflight(target);
      const installed = await find(["application", "root", "-n", "argocd"]).catch(() => undefined);
      if (installed) diagnoses.push(...(await examine(checkout)));
      process.stdout.write(formatDiagnoses(diagnoses));
      return diagnoses.some(({ remedy }) => remedy) ? 1 : 0;
    },
  },
  istio: { description: "install Istio", action: installIstio },
  argocd: { description: "install Argo CD", action: installArgocd },
  applications: {
    description: "apply the root and print the commit that runs",
    action: async (target) => print([await deployApplications(target)]),
  },
  answers: { description: "wait until the app answers through the gateway", action: awaitAnswer },
  summary: { description: "where everything is", action: async (target) => print(await summary(target)) },
  plan: { description: "what bootstrap would do", action: async (target) => print(await plan(target)) },
  destroy: { description: "remove what the stages made", action: destroy },
  remains: { description: "what destroy would do", action: async (target) => print(await remains(target)) },
  "destroy-kind": { description: "remove the kind cluster and its registry", action: destroyKind },
};

// Under its own path or, where Node takes links as they are, under the link's.
const [, started = ""] = process.argv;
if (started && [started, realpathSync(started)].some((path) => import.meta.url === pathToFileURL(path).href))
  process.exitCode = await main(process.argv.slice(2));
