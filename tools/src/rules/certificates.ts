import { describeObject } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import { podsOf, selects } from "./pods.ts";
import { isSecretMade } from "./references.ts";
import type { Problem, Rule } from "./rule.ts";

interface Server {
  tls?: { credentialName?: string };
}

export const gatewayCertificate: Rule = {
  id: "gateway-certificate",
  summary: "Something creates the certificate of a Gateway, or the documentation says how to create it",
  explanation: `Istio accepts a Gateway whose credentialName is not a Secret in the namespace of the gateway's pods, but its port does not answer. The
  rule looks in that namespace for the Secret, or for a Certificate, ExternalSecret or SealedSecret that creates it. A Secret that an operator
  creates by hand is not in the repository: then README.md or a page under docs must name it, between backquotes.`,
  check: (graph) =>
    graph.ofKind("Gateway").flatMap((manifest): Problem[] => {
      const { object, foreign } = manifest;
      if (foreign || !object.apiVersion.startsWith("networking.istio.io/")) return [];
      const namespaces = gatewayNamespaces(graph, object.spec?.selector ?? {});
      return ((object.spec?.servers ?? []) as Server[]).flatMap(({ tls }, index): Problem[] => {
        const name = tls?.credentialName;
        if (!name || namespaces.length === 0 || isDocumented(graph, name)) return [];
        const without = namespaces.filter((namespace) => !isSecretMade(graph, name, namespace));
        return without.map((namespace) => ({
          manifest,
          path: ["spec", "servers", index, "tls", "credentialName"],
          message: `${describeObject(object)}: nothing makes the Secret ${namespace}/${name}`,
          fix: `add a Certificate in namespace ${namespace}, or say in docs how to make \`${name}\``,
        }));
      });
    }),
};

function gatewayNamespaces(graph: Graph, matchLabels: Record<string, string>): string[] {
  const pods = podsOf(graph).filter(({ labels }) => selects({ matchLabels }, labels));
  return [...new Set(pods.map(({ namespace }) => namespace))];
}

function isDocumented(graph: Graph, name: string): boolean {
  return [...graph.input.repository].some(
    ([path, text]) => /^(README\.md$|docs\/.*\.md$)/.test(path) && text.includes(`\`${name}\``),
  );
}
