/** An existing cluster, which may be one of kind, with the stages that other clusters do not have. */
import { join } from "node:path";
import { type Diagnosis, formatDiagnoses } from "../../../lib/cluster/doctor.ts";
import { deployCommand, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { Failure } from "../../../lib/failure.ts";
import { log } from "../../../lib/process.ts";
import { checkout } from "../../../lib/repository.ts";
import type { Cluster, Component, Istioctl, Options, Stage } from "../../src/cluster.ts";
import { apply, find, kubectl } from "../../src/kubectl.ts";
import { Told } from "../../src/told.ts";
import { readCredentials, repositorySecret } from "./credentials.ts";
import { destroy, remains } from "./destroy.ts";
import { gatewayURL, istioPlatform, type Service } from "./gateway.ts";
import { findIstioctl } from "./istioctl.ts";
import { destroyKind, ensureKind, pushImages } from "./kind.ts";
import { chooseGateway } from "./mesh.ts";
import { plan } from "./plan.ts";
import { preflight, surroundings } from "./preflight.ts";
import { originURL, resolveTarget, type Target } from "./target.ts";

/**
 * The cluster of a context, with defaults for all options that were not given.
 * @param command the command of deploy.sh; those that remove things need no repository
 * @throws Failure if it is not known which repository Argo CD should read
 */
export async function existingCluster(command: string, options: Options): Promise<ExistingCluster> {
  process.env.KUBE_CONTEXT = options.context;
  const readsRepository = ["bootstrap", "doctor"].includes(command);
  const origin = options.repo || !readsRepository ? "none" : await originURL();
  return new ExistingCluster(resolveTarget(options, origin));
}

/** A cluster from a kubeconfig. */
export class ExistingCluster implements Cluster {
  readonly name: string;
  readonly overrides: Cluster["overrides"];
  readonly keepIstio: boolean;
  readonly stages: Record<string, Stage>;
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
    this.name = target.cluster;
    this.overrides = target.overrides;
    this.keepIstio = target.keepIstio;
    this.stages = {
      kind: ensureKind,
      Images: () => pushImages(target),
      "Pre-flight": () => checkBeforehand(target),
    };
  }

  // The nodes pull upstream images, and istioctl is searched for when it is needed.
  async provide(_component: Component): Promise<void> {}

  async istioctl(): Promise<Istioctl> {
    const program = await findIstioctl();
    const { nodes, loadBalancer } = await surroundings();
    const platform = istioPlatform(nodes);
    const files = ["operator.yaml", ...(loadBalancer ? [] : ["node-port.yaml"])];
    return {
      program,
      install: [
        ...files.flatMap((file) => ["--filename", join(checkout, "bootstrap/istio", file)]),
        ...(platform ? ["--set", `values.global.platform=${platform}`] : []),
      ],
    };
  }

  async applyCredentials(): Promise<void> {
    const credentials = readCredentials(this.#target);
    if (credentials) await apply(repositorySecret(this.#target.repository, credentials));
  }

  publishedCommit(): undefined {
    return undefined;
  }

  /** The API server forwards the request, so that this machine does not need to reach the gateway. */
  async ask(): Promise<string | undefined> {
    const { service } = await gatewayService();
    const { name, namespace } = service.metadata;
    const path = `/api/v1/namespaces/${namespace}/services/http:${name}:80/proxy/status`;
    const answer = await kubectl(["get", "--raw", path]);
    return answer.includes('"ok"') ? undefined : `answered ${answer.slice(0, 200)}`;
  }

  async question(): Promise<{ what: string; next: string }> {
    const { name, namespace } = (await gatewayService()).service.metadata;
    const next = kubectlCommand("-n", "logging", "get", "pods");
    return { what: `GET /status through ${namespace}/${name}`, next };
  }

  async summary(): Promise<Record<string, string>> {
    const { service, url } = await gatewayService();
    const { name, namespace } = service.metadata;
    const k = kubectlCommand();
    return {
      platform: url
        ? `curl ${url}`
        : `its load balancer has no address yet: ${k} -n ${namespace} get service ${name}`,
      "Argo CD": `${k} -n argocd port-forward service/argocd-server 8443:443, then https://127.0.0.1:8443`,
      password: `user admin: ${k} -n argocd get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d`,
      status: deployCommand("status"),
    };
  }

  examine(): Promise<Diagnosis[]> {
    return preflight(this.#target);
  }

  async hasPlatform(): Promise<boolean> {
    const root = ["application", "root", "-n", "argocd"];
    return (await find(root).catch(() => undefined)) !== undefined;
  }

  plan(): Promise<string[]> {
    return plan(this.#target);
  }

  async remains(): Promise<string[]> {
    return remains(this.#target);
  }

  destroy(): Promise<void> {
    return this.#target.kind ? destroyKind() : destroy(this.#target);
  }

  environment(): never {
    throw new Failure("env works only for the embedded cluster", "./deploy.sh --help");
  }
}

/** Stops the run if something is wrong with the cluster. */
async function checkBeforehand(target: Target): Promise<void> {
  const diagnoses = await preflight(target);
  log(formatDiagnoses(diagnoses));
  const wrong = diagnoses.filter(({ remedy }) => remedy);
  if (wrong.length === 0) return;
  process.stderr.write(formatDiagnoses(wrong));
  throw new Told();
}

/** The Service of the gateway that the platform's Gateway selects. @throws Failure if there is none */
async function gatewayService(): Promise<{ service: Service; url: string | undefined }> {
  const { gateways, nodes } = await surroundings();
  const service = chooseGateway(gateways);
  if (!service) throw new Failure("no Service has the label istio=ingressgateway", deployCommand("doctor"));
  return { service, url: gatewayURL(service, nodes) };
}
