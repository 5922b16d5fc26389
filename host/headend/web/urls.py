"""The addresses of the pages."""

from django.urls import path

from host.headend.web import (
    accounts,
    counter,
    deciding,
    door,
    drawers,
    imports,
    proving,
    reading,
    rooms,
    steps,
    switching,
    views,
)
from host.headend.web.api import api

urlpatterns = [
    path("", views.today),
    path("sign-in", door.sign_in),
    path("sign-out", door.sign_out),
    path("language/<str:language>", door.speak),
    path("households", views.households),
    path("households/<str:account>", views.household),
    path("households/<str:account>/use/<str:by>", views.use),
    path("households/<str:account>/days/<str:on>", views.day),
    path("households/<str:account>/exchange", steps.exchange),
    path("households/<str:account>/card", steps.card),
    path("households/<str:account>/household", steps.household),
    path("households/<str:account>/transfer", steps.transfer),
    path("households/<str:account>/close", steps.close),
    path("households/<str:account>/undo/<int:number>", steps.undo),
    path("households/<str:account>/ask/<str:what>", deciding.ask),
    path("households/<str:account>/switch/<str:what>", switching.switch),
    path("households/<str:account>/commands", switching.outcomes),
    path("approvals", deciding.listed),
    path("approvals/<int:number>", deciding.one),
    path("drawer", drawers.own),
    path("drawer/close", drawers.close),
    path("drawer/move", drawers.move),
    path("drawer/pay/<str:account>/<int:order>", drawers.pay_out),
    path("audit", proving.log),
    path("arrears", proving.arrears),
    path("imports", imports.imports),
    path("imports/lines", imports.lines),
    path("imports/export.csv", imports.export),
    path("open", accounts.opening),
    path("day", accounts.day),
    path("sell", counter.sell),
    path("held", reading.held),
    path("receipts/<str:account>/<int:order>", counter.receipt),
    path("receipts/<str:account>/<int:order>/card", reading.write),
    path("void/<str:account>/<int:order>", counter.void),
    path("refund/<str:account>", counter.refund),
    path("rooms", rooms.house),
    path("rooms/<int:tenancy>/bill.pdf", rooms.bill),
    path("static/<str:name>", views.static),
    path("api/v1/", api.urls),
]
handler400 = "host.headend.web.door.bad_request"
handler404 = "host.headend.web.door.not_found"
handler500 = "host.headend.web.door.failed"
