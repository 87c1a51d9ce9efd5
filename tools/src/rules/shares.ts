import {
  describeObject,
  type FieldPath,
  isMapping,
  type KubernetesObject,
  type Manifest,
} from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import type { Problem, Rule } from "./rule.ts";

// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter
const headers: Record<string, { most: number; what: string }> = {
  "x-envoy-fault-delay-request-percentage": { most: 100, what: "a share is a whole number from 0 to 100" },
  "x-envoy-fault-abort-request-percentage": { most: 100, what: "a share is a whole number from 0 to 100" },
  "x-envoy-fault-delay-request": { most: 3_600_000, what: "a delay is a whole number of milliseconds" },
  "x-envoy-fault-abort-request": { most: 599, what: "an abort is a status from 200 to 599" },
};

export const faultShare: Rule = {
  id: "fault-share",
  isOfArgocd: true,
  summary: "The share of delayed requests is a whole number from 0 to 100",
  isLocal: true,
  explanation: `Envoy reads x-envoy-fault-delay-request-percentage as a whole number and ignores anything else, and then every request is delayed: 7.5, 0,5,
  an empty value and the letter O each mean 100 %. istiod accepts all of them. The rule checks the headers that a VirtualService sets or adds,
  including those with the delay and the abort. If the value comes from a .env file of the Application, the finding is there.`,
  check: (graph) =>
    graph
      .ofKind("VirtualService")
      .filter(({ object, foreign }) => !foreign && object.apiVersion.startsWith("networking.istio.io/"))
      .flatMap((manifest) =>
        settings(manifest.object).flatMap((setting) => problemsOf(graph, manifest, setting)),
      ),
};

interface Setting {
  path: FieldPath;
  name: string;
  value: string;
}

/** The headers for the fault filter that a VirtualService sets on routes and on their destinations. */
function settings({ spec }: KubernetesObject): Setting[] {
  const found: Setting[] = [];
  const walk = (value: unknown, path: FieldPath): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, content] of Object.entries(value)) {
      const at = [...path, Array.isArray(value) ? Number(key) : key];
      if ((key === "set" || key === "add") && isMapping(content)) {
        for (const [name, text] of Object.entries(content))
          if (name.toLowerCase() in headers)
            found.push({ path: [...at, name], name: name.toLowerCase(), value: String(text) });
      } else walk(content, at);
    }
  };
  walk(spec?.http, ["spec", "http"]);
  return found;
}

function problemsOf(graph: Graph, manifest: Manifest, { path, name, value }: Setting): Problem[] {
  const { most = 100, what = "" } = headers[name] ?? {};
  const isStatus = name === "x-envoy-fault-abort-request";
  const isRight = /^\d{1,7}$/.test(value) && Number(value) <= most && !(isStatus && Number(value) < 200);
  if (isRight) return [];
  const message = `${describeObject(manifest.object)}: ${name} is ${JSON.stringify(value)}, which Envoy ignores: ${what}`;
  const fix = name.endsWith("percentage")
    ? "npm run fault -- PERCENT, or write a whole number"
    : "write a whole number";
  const setting = settingOf(graph, manifest, value);
  return [setting ? { at: setting, message, fix } : { manifest, path, message, fix }];
}

/** The line in a .env file of the Application from which a replacement takes a share. */
function settingOf(
  graph: Graph,
  manifest: Manifest,
  value: string,
): { file: string; line: number; column: number } | undefined {
  const files = graph.application(manifest)?.files ?? [];
  for (const file of files.filter((path) => path.endsWith(".env")).reverse()) {
    const lines = (graph.input.repository.get(file) ?? "").split("\n");
    for (const [index, line] of lines.entries()) {
      const [, key = "", text = ""] = /^\s*([A-Z_]*PERCENT[A-Z_]*)=(.*?)\r?$/.exec(line) ?? [];
      if (key !== "" && text === value) return { file, line: index + 1, column: line.indexOf("=") + 2 };
    }
  }
  return undefined;
}
