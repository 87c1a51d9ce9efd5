/** A short-lived pod for checks from inside the cluster: pulling its image tests the registry, its program the repository. */
import { get } from "../../../lib/cluster/kubectl.ts";
import { type Pod, podTrouble } from "../../../lib/cluster/pods.ts";
import { Failure, FinalFailure, until } from "../../../lib/failure.ts";
import { progress } from "../../../lib/progress.ts";
import { kubectl } from "../../src/kubectl.ts";
import { sshAddress } from "./credentials.ts";

const namespace = "platform-preflight";

/** How the repository answered the pod. */
export type Answer = "open" | "asks for credentials";

/** The address with which the pod checks that a repository exists. */
export function probeAddress(repository: string): string {
  const ssh = sshAddress(repository);
  return ssh
    ? `tcp://${ssh.host}:${ssh.port}`
    : `${repository.replace(/\/+$/, "")}/info/refs?service=git-upload-pack`;
}

// This runs in the pod, because the image of services/app has Node. It prints the answer of the repository. Cluster networks
// apply NetworkPolicies a moment after a pod has started, so only an error that stays for 8 s counts.
const program = `
const address = process.argv[1];
const end = (word, code) => { console.log(word); process.exit(code); };
setTimeout(() => end("no answer within 20 s", 1), 20000);
const fail = (error) => performance.now() < 8000 ? setTimeout(ask, 500) : end((error.cause || error).message, 1);
const { hostname, port } = new URL(address.replace("tcp:", "http:"));
const ask = () => address.startsWith("tcp:")
  ? require("node:net").connect(Number(port || 80), hostname)
    .on("connect", () => end("asks for credentials", 0)).on("error", fail)
  : fetch(address).then(
    ({ status }) => [401, 403].includes(status) ? end("asks for credentials", 0) : end(status === 200 ? "open" : "answered " + status, status === 200 ? 0 : 1),
    fail);
ask();
`;

/** The objects of the probe: the pod, and its own namespace, in which nothing interferes. */
export function probeObjects(image: string, repository: string): object[] {
  const labels = { "app.kubernetes.io/name": "preflight", "app.kubernetes.io/part-of": "platform" };
  return [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: {
        name: namespace,
        labels: {
          ...labels,
          "istio-injection": "disabled",
          "pod-security.kubernetes.io/enforce": "restricted",
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "preflight", namespace, labels },
      spec: {
        restartPolicy: "Never",
        activeDeadlineSeconds: 180,
        automountServiceAccountToken: false,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 1000,
          seccompProfile: { type: "RuntimeDefault" },
        },
        containers: [
          {
            name: "preflight",
            image,
            command: ["node", "-e", program, probeAddress(repository)],
            resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "128Mi" } },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      },
    },
  ];
}

/** Says why a check failed. `part` is `registry` if the image could not be pulled. */
export class ProbeFailure extends Failure {
  readonly part: "registry" | "repository" | "pod";
  constructor(part: ProbeFailure["part"], message: string) {
    super(message);
    this.part = part;
  }
}

/**
 * Runs the pod and removes it.
 * @param image the image of services/app, in the chosen registry
 * @throws ProbeFailure that names the part that failed
 */
export async function probe(image: string, repository: string): Promise<Answer> {
  await remove(true);
  const objects = probeObjects(image, repository);
  await kubectl(["create", "-f", "-"], objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  try {
    progress(`waiting for the pod that checks from inside the cluster`);
    let ended: Pod | undefined;
    await until("Pod platform-preflight/preflight", 120, async () => {
      const pod = await get<Pod>(["pod", "preflight", "-n", namespace]);
      const { waiting } = pod.status.containerStatuses?.[0]?.state ?? {};
      if (waiting && /^(ErrImagePull|ImagePullBackOff|InvalidImageName)$/.test(waiting.reason))
        throw new FinalFailure(`${waiting.reason} ${waiting.message ?? ""}`.trim(), "registry");
      if (pod.status.phase !== "Succeeded" && pod.status.phase !== "Failed")
        return podTrouble(pod) ?? `is ${pod.status.phase}`;
      ended = pod;
      return undefined;
    });
    const said = (await kubectl(["-n", namespace, "logs", "preflight"])).trim().split("\n").pop() ?? "";
    if (ended?.status.phase === "Succeeded") return said as Answer;
    throw new ProbeFailure("repository", said || "the pod failed without a message");
  } catch (error) {
    if (error instanceof FinalFailure) throw new ProbeFailure("registry", error.message);
    if (error instanceof ProbeFailure) throw error;
    throw new ProbeFailure("pod", (error as Error).message);
  } finally {
    await remove(false).catch(() => undefined);
  }
}

const remove = (wait: boolean): Promise<string> =>
  kubectl(["delete", "namespace", namespace, "--ignore-not-found", `--wait=${wait}`]);
