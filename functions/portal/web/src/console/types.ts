// The API's own types, from its description.

import type { components } from "../../../../../clients/typescript/src/generated/api";

type Schemas = components["schemas"];
export type Entitlement = Schemas["Entitlement"];
export type ChangedEntitlement = Schemas["ChangedEntitlement"];
export type Event = Schemas["Event"];
export type EventDelivery = Schemas["EventDelivery"];
export type DeliveryDetails = Schemas["DeliveryDetails"];
export type Stack = Schemas["Stack"];
export type EntitlementPatch = Schemas["EntitlementPatch"];
export type Contact = Schemas["Contact"];
export type Clock = Schemas["Overdraft"];
export type Used = Schemas["Used"];
export type CurrentUsage = Schemas["CurrentUsage"];
export type Forecast = Schemas["Forecast"];
export type Crossing = Schemas["Crossing"];
export type Denials = Schemas["PortalDenials"];
export type HeldSeat = Schemas["ActivationList"]["items"][number];
export type Seat = Schemas["Seat"];
export type Explanation = Schemas["Explanation"];
export type Change = Schemas["Change"];
export type FollowUp = Schemas["FollowUp"];
export type FollowUpEntry = Schemas["FollowUpEntry"];
export type ListedFollowUp = Schemas["ListedFollowUp"];
export type Report = Schemas["Report"];
export type Statement = Schemas["TrueUpStatement"];
export type StatementLine = Schemas["TrueUpStatementLine"];
export type Decision = Schemas["TrueUpDecision"];
export type DecidedLine = Schemas["DecidedTrueUpLine"];
export type TrueUp = Schemas["TrueUp"];
export type TrueUpLine = Schemas["TrueUpLine"];
export type SeatRequest = Schemas["SeatRequest"];
export type ScheduledChange = Schemas["ScheduledChange"];
export type PortalLink = Schemas["PortalLink"];
export type LicenseKey = Schemas["LicenseKey"];
export type SentEmail = Schemas["EmailList"]["items"][number];
export type Webhook = Schemas["Webhook"];
export type Delivery = Schemas["Delivery"];
export type ApiKey = Schemas["ApiKey"];
export type Session = Schemas["Session"];
export type NewSession = Schemas["NewSession"];
export type Correction = Schemas["Correction"];
export type UsagePeriod = Schemas["UsagePeriod"];
export type Episode = Schemas["OverdraftEpisode"];

/** What a section of an entitlement's page gets. */
export interface Shown {
  of: Entitlement;
  /** Where the API has it. */
  path: string;
  reload: () => Promise<void>;
}

/** A page of a list. */
export interface Page<T> {
  items: T[];
  nextPageToken: string | null;
}
