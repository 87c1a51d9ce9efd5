/** The logging API: its address, its pods and the files they write. */
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { get, inPod, type KubernetesObject, list } from "./kubectl.ts";
import { exported } from "./platform.ts";

export const namespace = "logging";

/** What of a pod the tests look at. */
export interface Pod extends KubernetesObject {
  spec: {
    nodeName: string;
    initContainers?: { name: string; restartPolicy?: string }[];
    volumes: { name: string; configMap?: { name: string }; emptyDir?: object }[];
    containers: {
      name: string;
      ports: { name: string; containerPort: number }[];
      volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
    }[];
  };
  status: {
    phase: string;
    podIP: string;
    conditions: { type: string; status: string }[];
    containerStatuses: { restartCount: number }[];
  };
}

/** What of the Deployment the tests look at. */
export interface Deployment extends KubernetesObject {
  spec: { replicas: number; template: { spec: Pod["spec"] } };
  status: {
    observedGeneration: number;
    replicas?: number;
    readyReplicas?: number;
    updatedReplicas?: number;
  };
}

/** The address of a path of the API. */
export const url = (path: string): string => exported("APP_URL") + path;

/** An answer of the API. */
export interface Answer {
  status: number;
  type: string;
  body: string;
  /** What the request is called by the gateway and in its line. */
  requestId: string;
}

/**
 * Sends one request over a connection of its own, so that each one is balanced anew.
 * @param body what to POST; without it the request is a GET
 */
export function send(
  path: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "POST";
    const options = { method, headers, agent: false, signal: AbortSignal.timeout(30_000) };
    request(url(path), options, (response) => {
      text(response).then((body) => {
        const { "content-type": type = "", "x-request-id": requestId = "" } = response.headers;
        resolve({ status: response.statusCode ?? 0, type, body, requestId: String(requestId) });
      }, reject);
    })
      .on("error", reject)
      .end(body);
  });
}

/**
 * Sends a body to POST /log; again where the mesh's injected delays took the time of all attempts, as they do for one
 * request in a thousand at the default share: then nothing was written.
 */
export async function append(body: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
  for (let left = 5; ; left--) {
    const answer = await send("/log", body, headers);
    if (answer.status !== 504 || left === 0) return answer;
  }
}

/** Sends a message to be logged. */
export const post = (message: string, headers: Record<string, string> = {}): Promise<Answer> =>
  append(JSON.stringify({ message }), { "content-type": "application/json", ...headers });

/** The app's Deployment. */
export const deployment = (): Promise<Deployment> => get("deployment", "app", "--namespace", namespace);

/** The app's pods but those that are going. */
export async function pods(): Promise<Pod[]> {
  const found = await list<Pod>("pods", "--namespace", namespace, "--selector", "app.kubernetes.io/name=app");
  return found.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** The lines of a pod's log file. */
export async function lines(pod: Pod): Promise<string[]> {
  const file = "/app/logs/app.log";
  const shell = `if [ -e ${file} ]; then cat ${file}; fi`;
  return (await inPod(namespace, pod.metadata.name, "sh", "-c", shell)).split("\n").slice(0, -1);
}

/** For each of the app's pods, the lines of its log file that hold a text. */
export async function writtenWith(text: string): Promise<Map<string, string[]>> {
  const result = new Map<string, string[]>();
  for (const pod of await pods()) {
    const found = (await lines(pod)).filter((line) => line.includes(text));
    result.set(pod.metadata.name, found);
  }
  return result;
}

/**
 * The same without what a retry wrote on a second pod, under one request id: on a busy machine the gateway gives up an
 * attempt that was written. Archives and search merge these. Two lines of one pod stay two.
 */
export async function linesWith(text: string): Promise<Map<string, string[]>> {
  const written = await writtenWith(text);
  const first = new Map<string, { pod: string; time: string }>();
  for (const [pod, found] of written)
    for (const line of found) {
      const { time, request } = partsOf(line);
      const earlier = first.get(request);
      if (earlier === undefined || time < earlier.time) first.set(request, { pod, time });
    }
  return new Map(
    [...written].map(([pod, found]) => [
      pod,
      found.filter((line) => first.get(partsOf(line).request)?.pod === pod),
    ]),
  );
}

/** A line's time, and its request id with the message. */
function partsOf(line: string): { time: string; request: string } {
  const end = line.indexOf(" ");
  return { time: line.slice(0, end), request: line.slice(end + 1) };
}
