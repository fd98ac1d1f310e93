/** Clusters that share the traffic of a route or a TCP proxy by weight. */
import { type Json, numberAt, objectsAt, textAt } from './json.ts';

export interface WeightedCluster {
  readonly name: string;
  readonly weight: number;
}

/** The clusters of a `weighted_clusters` message; those of weight 0 get nothing and are left out. */
export function parseWeightedClusters(message: Json | undefined): WeightedCluster[] {
  return objectsAt(message, 'clusters')
    .map((cluster) => ({ name: textAt(cluster, 'name') ?? '', weight: numberAt(cluster, 'weight') ?? 0 }))
    .filter((cluster) => cluster.weight > 0);
}
