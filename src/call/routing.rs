//! Which API a call is of: by its path at first, by its headers where these must tell, and by its body at last.

use std::borrow::Cow;
use std::rc::Rc;

use super::Beginning;
use super::request::RequestSide;
use crate::headers;
use crate::provider::{Api, Asked, Custom, Places, Route, Skip};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Routing {
    route: Route,
    api: &'static Api,
    /// The configured provider whose call it is.
    custom: Option<Rc<Custom>>,
    /// It turned out to be no call of an LLM API.
    pub is_foreign: bool,
}

impl Routing {
    /// Asks the headers, where the path does not tell all.
    pub(super) fn begin(mut route: Route, at: &Beginning<'_>) -> Result<Self, Skip> {
        let mut custom = None;
        if route.may_be_custom() || route.is_open() {
            let host = headers::find(at.headers, ":authority").or_else(|| headers::find(at.headers, "host"));
            let host = host.and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            custom = route.take_custom(host, at.headers);
            let has_header = |name: &str| headers::find(at.headers, name).is_some();
            route.narrow(&Asked { host: Some(host), has_header: Some(&has_header), has_member: None, model: None });
        }
        let api = route.api().ok_or(Skip::NotAi)?;
        Ok(Self { route, api, custom, is_foreign: false })
    }

    /// Decides, now that the request is known.
    pub(super) fn settle(&mut self, request: &RequestSide) {
        if !self.route.is_open() {
            return;
        }
        let document = request.document();
        // What could not be read may have had the member.
        let is_known = document.is_closed() && request.unread().is_none();
        let has_member = |name: &str| document.get(name).map(|_| true).or(if is_known { Some(false) } else { None });
        let model = self.model(request).unwrap_or_default();
        let asked = Asked { host: None, has_header: None, has_member: Some(&has_member), model: Some(&model) };
        self.route.narrow(&asked);
        self.route.decide();
        match self.route.api() {
            Some(api) => self.api = api,
            None => self.is_foreign = true,
        }
    }

    /// The answer tells more of what was asked for.
    pub(super) fn turn(&mut self, api: &'static Api) {
        self.api = api;
    }

    /// The API, as far as is known.
    pub(super) fn api(&self) -> &'static Api {
        self.api
    }

    /// The configured provider whose call it is.
    pub(super) fn custom(&self) -> Option<&Rc<Custom>> {
        self.custom.as_ref()
    }

    /// Where a configured provider's messages have what a trace needs.
    pub(super) fn places(&self) -> Option<&Places> {
        self.custom.as_ref()?.places()
    }

    /// Value of `metadata.provider`.
    pub(super) fn provider(&self) -> &str {
        self.custom.as_ref().map_or(self.api.provider, |custom| &custom.name)
    }

    /// The same, as a label of metrics.
    pub(super) fn label(&self) -> Cow<'static, str> {
        match &self.custom {
            Some(custom) => Cow::Owned(custom.name.clone()),
            None => Cow::Borrowed(self.api.provider),
        }
    }

    /// The model that was asked for: in the body, else in the path.
    pub(super) fn model(&self, request: &RequestSide) -> Option<String> {
        let named = match self.places() {
            Some(places) => request
                .document()
                .at(&places.request_model)
                .non_empty()
                .map(|model| crate::trace::truncate(&model, 256).to_owned()),
            None => request.document().text(self.api.model),
        };
        named.or_else(|| self.route.model.clone())
    }
}
