/** The operator's CustomResourceDefinitions as they are committed: without the descriptions, three quarters of their size. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { moduleSource, prometheusOperator } from "../../../lib/modules.ts";
import { checkout } from "../../../lib/repository.ts";

/** Where kustomize finds them, and which there are. */
export const committed = "gitops/platform/monitoring/crds";

/** What each committed file should hold, by its name: the definition out of the pinned module. Rejects where the module cannot be had. */
export async function definitions(): Promise<Record<string, string>> {
  const source = join(await moduleSource(checkout, prometheusOperator), "example/prometheus-operator-crd");
  const files = readdirSync(join(checkout, committed)).filter((file) => file !== "kustomization.yaml");
  return Object.fromEntries(
    files.map((file) => {
      const whole = parse(readFileSync(join(source, `monitoring.coreos.com_${file}`), "utf8"));
      return [file, stringify(withoutDescriptions(whole), { lineWidth: 0 })];
    }),
  );
}

/** A schema, or what holds one, without its descriptions; a property of that name stays. */
export function withoutDescriptions(value: unknown, ofProperties = false): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutDescriptions(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => ofProperties || key !== "description");
  return Object.fromEntries(
    entries.map(([key, item]) => [key, withoutDescriptions(item, key === "properties" && !ofProperties)]),
  );
}
