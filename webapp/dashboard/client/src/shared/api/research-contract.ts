/** As contract.ts, for the runs of the lab. */
import type { z } from 'zod';

import type { components } from '../../../dist/openapi';
import type * as research from './research';

type Server = components['schemas'];
type Reads<Schema extends z.ZodType, Answer extends z.input<Schema>> = [Schema, Answer];
type Sends<Accepted, Body extends Accepted> = [Accepted, Body];

export type ResearchContract = [
  Reads<typeof research.run, Server['RunOut']>,
  Reads<typeof research.runDetail, Server['RunDetailOut']>,
  Reads<typeof research.dataSets, Server['DataSetsOut']>,
  Reads<typeof research.compared, Server['ComparedOut']>,
  Reads<typeof research.liveGate, Server['LiveGateOut']>,
  Sends<Server['OverrideInRequest'], research.OverrideAsk>,
  Sends<Partial<Server['DataInRequest']>, research.RunData>,
  Sends<Partial<Server['EvidenceInRequest']>, Omit<research.EvidenceAsk, 'rules' | 'grid'>>,
];
