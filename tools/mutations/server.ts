/** Asks an API server whether it would take an object, by dry runs: nothing is written. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { load } from "js-yaml";
import { groupOf, type KubernetesObject } from "../../lib/object.ts";

/** The server's word on one object. */
export interface Verdict {
  isRefused: boolean;
  /** What it said. */
  reason: string;
}

interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
}

interface Resource {
  name: string;
  kind: string;
  namespaced: boolean;
}

// A namespace that every cluster has: those of the objects may be missing, and their quotas are not what is measured.
const namespace = "default";

/** The API server of a kubeconfig with a client certificate. */
export class ApiServer {
  readonly #url: string;
  readonly #agent: Agent;
  readonly #resources = new Map<string, Promise<Resource[]>>();

  constructor(kubeconfig: string) {
    const { clusters, users } = load(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
    const [{ cluster }, { user }] = [clusters[0], users[0]] as [
      Kubeconfig["clusters"][0],
      Kubeconfig["users"][0],
    ];
    const decode = (text: string): string => Buffer.from(text, "base64").toString();
    this.#url = cluster.server;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 8,
      ca: decode(cluster["certificate-authority-data"]),
      cert: decode(user["client-certificate-data"]),
      key: decode(user["client-key-data"]),
    });
  }

  /** True where the server has the kind of an object. */
  async knows(object: KubernetesObject): Promise<boolean> {
    return (await this.#resourceOf(object)) !== undefined;
  }

  /** Creates an object as Argo CD would on a cluster that has none of that name, in a dry run. */
  async verdict(original: KubernetesObject, object: KubernetesObject): Promise<Verdict> {
    const resource = await this.#resourceOf(original);
    if (!resource) throw new Error(`the server has no ${original.apiVersion} ${original.kind}`);
    const place = resource.namespaced ? `namespaces/${namespace}/` : "";
    const body = structuredClone(object);
    if (resource.namespaced && typeof body.metadata === "object" && body.metadata !== null)
      body.metadata.namespace = namespace;
    const query = "dryRun=All&fieldValidation=Strict&fieldManager=mutations";
    const { status, text } = await this.#send(
      "POST",
      `${pathOf(original.apiVersion)}/${place}${resource.name}?${query}`,
      JSON.stringify(body),
    );
    // An object of that name is looked for last, when everything else was found good.
    const isTaken = status < 300 || (status === 409 && text.includes("AlreadyExists"));
    if (!isTaken && status >= 500) throw new Error(`the API server failed: ${text.slice(0, 300)}`);
    return { isRefused: !isTaken, reason: messageOf(text) };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #resourceOf({ apiVersion, kind }: KubernetesObject): Promise<Resource | undefined> {
    let known = this.#resources.get(apiVersion);
    if (!known) {
      known = this.#send("GET", pathOf(apiVersion)).then(({ status, text }) =>
        status < 300 ? ((JSON.parse(text) as { resources: Resource[] }).resources ?? []) : [],
      );
      this.#resources.set(apiVersion, known);
    }
    return (await known).find((resource) => resource.kind === kind && !resource.name.includes("/"));
  }

  #send(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json", accept: "application/json" };
      const sent = request(`${this.#url}${path}`, { method, agent: this.#agent, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        );
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
}

function pathOf(apiVersion: string): string {
  return groupOf({ apiVersion }) ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { message?: string }).message ?? "");
  } catch {
    return text.slice(0, 300);
  }
}
